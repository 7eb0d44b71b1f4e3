"""Images, key pairs, tags and volumes, as boto3 sees them."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import serialization

from holdfast.base.ec2_ids import ec2_id
from holdfast.control.operations.image import member_add
from holdfast.control.store.image import image_fetch, image_move
from holdfast.control.store.instance import instance_fetch
from tests.api.ec2_client import refusal
from tests.api.ec2_world import World, add_image, world
from tests.api.test_ec2_instances import uuid_of

__all__ = ["world"]  # a fixture


def image_names(boto: Any, **words: Any) -> list[str]:
    return sorted(image["Name"] for image in boto.describe_images(**words)["Images"])


def test_images_are_shown_as_what_they_are(world: World) -> None:
    boto, admin = world.boto(), world.cloud.known.admin_project_id
    kernel = add_image(world.store, admin, "vmlinuz", disk_format="aki", container_format="aki")
    ramdisk = add_image(world.store, admin, "initrd", disk_format="ari", container_format="ari")
    words = {"kernel_id": kernel, "ramdisk_id": ramdisk, "hw_architecture": "aarch64", "description": "boots"}
    made = add_image(world.store, admin, "whole", properties=words)
    seen = boto.describe_images(ImageIds=[ec2_id("ami", made)])["Images"][0]
    assert (seen["KernelId"], seen["RamdiskId"]) == (ec2_id("aki", kernel), ec2_id("ari", ramdisk))
    assert (seen["ImageType"], seen["State"], seen["Public"]) == ("machine", "available", True)
    assert (seen["Architecture"], seen["Description"], seen["Name"]) == ("arm64", "boots", "whole")
    assert (seen["RootDeviceType"], seen["OwnerId"]) == ("instance-store", admin)
    kinds = {image["Name"]: image["ImageType"] for image in boto.describe_images()["Images"]}
    assert kinds == {"tiny": "machine", "whole": "machine", "vmlinuz": "kernel", "initrd": "ramdisk"}
    for name, value, found in (
        ("image-type", "kernel", ["vmlinuz"]),
        ("architecture", "arm64", ["whole"]),
        ("name", "w*", ["whole"]),
        ("is-public", "false", []),
        ("state", "available", ["initrd", "tiny", "vmlinuz", "whole"]),
    ):
        assert image_names(boto, Filters=[{"Name": name, "Values": [value]}]) == found, name
    assert image_names(boto, Owners=["self"]) == []
    assert image_names(boto, Owners=[admin], ExecutableUsers=["all"]) == ["initrd", "tiny", "vmlinuz", "whole"]
    launch = {"ImageId": ec2_id("aki", kernel), "MinCount": 1, "MaxCount": 1, "InstanceType": "m1.nano"}
    assert refusal(lambda: boto.run_instances(**launch))[0] == "InvalidParameterValue"


def test_a_caller_sees_its_own_images_and_those_it_was_given(world: World) -> None:
    mine, theirs = world.boto(), world.boto("admin", "admin")
    project_id = world.cloud.known.demo_project_id
    private = add_image(world.store, project_id, "private", visibility="private")
    shared = add_image(world.store, project_id, "shared", visibility="shared")
    add_image(world.store, project_id, "community", visibility="community")
    assert image_names(mine, Owners=["self"]) == ["community", "private", "shared"]
    assert image_names(theirs) == ["tiny"], "an administrator too"
    for image in (private, shared):
        unseen = refusal(lambda image=image: theirs.describe_images(ImageIds=[ec2_id("ami", image)]))
        assert unseen[0] == "InvalidAMIID.NotFound"
        launch = {"ImageId": ec2_id("ami", image), "MinCount": 1, "MaxCount": 1}
        assert refusal(lambda launch=launch: theirs.run_instances(**launch))[0] == "InvalidAMIID.NotFound"
    admin = world.cloud.known.admin_project_id
    world.store.write(lambda tx: member_add(tx, image_fetch(tx, shared), admin))
    assert len(theirs.describe_images(ImageIds=[ec2_id("ami", shared)])["Images"]) == 1


def test_two_images_that_share_an_id_are_both_refused(world: World) -> None:
    project_id = world.cloud.known.demo_project_id
    chosen = world.image_id[:24] + "000000000000"
    add_image(world.store, project_id, "look-alike", image_id=chosen, visibility="public")
    assert refusal(lambda: world.boto().describe_images(ImageIds=[world.ami]))[0] == "InvalidAMIID.NotFound"


def test_an_image_is_made_of_an_instance_and_deregistered_by_its_owner_only(world: World) -> None:
    boto = world.boto()
    instance_id = world.launch(boto)["InstanceId"]
    made = boto.create_image(InstanceId=instance_id, Name="golden", Description="of web", NoReboot=True)["ImageId"]
    seen = boto.describe_images(ImageIds=[made])["Images"][0]
    assert (seen["State"], seen["Description"], seen["SourceInstanceId"]) == ("pending", "of web", instance_id)
    assert refusal(lambda: boto.create_image(InstanceId=instance_id, Name="other"))[0] == "IncorrectState"
    uuid = world.store.read(lambda tx: instance_fetch(tx, uuid_of(world, instance_id))).capture_image_id
    facts = {"content": "qcow2", "size_bytes": 1, "virtual_bytes": 1 << 20, "sha512": "0" * 128, "md5": "0" * 32}
    assert world.store.write(lambda tx: image_move(tx, uuid, "upload", "u"))
    assert world.store.write(lambda tx: image_move(tx, uuid, "finish", "u", **facts))
    world.cloud.clock.advance_s(10)
    world.settle()
    assert boto.describe_images(ImageIds=[made])["Images"][0]["State"] == "available"
    assert refusal(lambda: boto.create_image(InstanceId=instance_id, Name="golden"))[0] == "InvalidAMIName.Duplicate"
    assert refusal(lambda: boto.create_image(InstanceId=instance_id, Name="a\nb"))[0] == "InvalidAMIName.Malformed"
    assert refusal(lambda: boto.deregister_image(ImageId=world.ami))[0] == "AuthFailure"
    boto.deregister_image(ImageId=made)
    assert refusal(lambda: boto.deregister_image(ImageId=made))[0] == "InvalidAMIID.NotFound"
    assert world.show(boto, instance_id)["State"]["Name"] == "running"
    assert refusal(lambda: boto.register_image(Name="image", ImageLocation="bucket/x"))[0] == "UnsupportedOperation"


def test_images_come_in_pages(world: World) -> None:
    boto, project_id = world.boto(), world.cloud.known.demo_project_id
    for number in range(6):
        add_image(world.store, project_id, f"image-{number}", visibility="private")
    pages = list(boto.get_paginator("describe_images").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(page["Images"]) for page in pages] == [3, 3, 1]
    assert len({image["ImageId"] for page in pages for image in page["Images"]}) == 7


def test_a_key_pair_is_made_once_and_its_private_half_fits(world: World) -> None:
    boto = world.boto()
    made = boto.create_key_pair(KeyName="mine")
    private = serialization.load_pem_private_key(made["KeyMaterial"].encode(), None)
    line = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    seen = boto.describe_key_pairs(KeyNames=["mine"], IncludePublicKey=True)["KeyPairs"][0]
    assert seen["PublicKey"].startswith(line.decode())
    assert (seen["KeyPairId"], seen["KeyFingerprint"]) == (made["KeyPairId"], made["KeyFingerprint"])
    assert refusal(lambda: boto.create_key_pair(KeyName="mine"))[0] == "InvalidKeyPair.Duplicate"
    imported = boto.import_key_pair(KeyName="again", PublicKeyMaterial=line)
    assert imported["KeyFingerprint"] == made["KeyFingerprint"]
    nova = world.nova().get("/compute/v2.1/os-keypairs").json["keypairs"]
    assert sorted(each["keypair"]["name"] for each in nova) == ["again", "mine"]
    for bad in (b"ssh-rsa AAAA", b"\xff\xfe", line + b"\n" + line):
        said = refusal(lambda bad=bad: boto.import_key_pair(KeyName="bad", PublicKeyMaterial=bad))
        assert said[0] == "InvalidKey.Format"
    for words in ({"KeyType": "ed25519"}, {"KeyFormat": "ppk"}):
        assert refusal(lambda words=words: boto.create_key_pair(KeyName="x", **words))[0] == "UnsupportedOperation"


def test_deleting_a_key_pair_that_is_not_there_succeeds(world: World) -> None:
    boto = world.boto()
    for name in ("one", "two", "three"):
        boto.create_key_pair(KeyName=name)
    two = boto.describe_key_pairs(KeyNames=["two"])["KeyPairs"][0]["KeyPairId"]
    boto.delete_key_pair(KeyName="one")
    boto.delete_key_pair(KeyName="one")
    boto.delete_key_pair(KeyPairId=two)
    boto.delete_key_pair(KeyPairId="key-" + "0" * 17)
    assert [key["KeyName"] for key in boto.describe_key_pairs()["KeyPairs"]] == ["three"]
    assert refusal(lambda: boto.describe_key_pairs(KeyNames=["one"]))[0] == "InvalidKeyPair.NotFound"
    assert refusal(lambda: boto.describe_key_pairs(KeyPairIds=[two]))[0] == "InvalidKeyPair.NotFound"
    found = boto.describe_key_pairs(Filters=[{"Name": "key-name", "Values": ["t*"]}])["KeyPairs"]
    assert [key["KeyName"] for key in found] == ["three"]


def test_key_pairs_of_another_user_are_not_seen(world: World) -> None:
    mine, theirs = world.boto(), world.boto("admin", "admin")
    mine.create_key_pair(KeyName="mine")
    assert theirs.describe_key_pairs()["KeyPairs"] == []
    theirs.delete_key_pair(KeyName="mine")
    assert len(mine.describe_key_pairs()["KeyPairs"]) == 1


def tags_of(boto: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in boto.describe_tags()["Tags"]}


def test_tags_of_an_instance_are_its_metadata(world: World) -> None:
    boto = world.boto()
    instance_id = world.launch(boto)["InstanceId"]
    given = [{"Key": "Name", "Value": "web"}, {"Key": "role", "Value": "front"}, {"Key": "empty", "Value": ""}]
    boto.create_tags(Resources=[instance_id], Tags=given)
    path = f"/compute/v2.1/servers/{uuid_of(world, instance_id)}"
    server = world.nova().get(path).json["server"]
    assert (server["name"], server["metadata"]) == ("web", {"Name": "web", "role": "front", "empty": ""})
    assert world.nova().put(f"{path}/metadata/role", {"meta": {"role": "back"}}).status == 200
    assert tags_of(boto) == {"Name": "web", "role": "back", "empty": ""}
    for name, value in (("key", "ro*"), ("value", "back"), ("tag:role", "back")):
        found = boto.describe_tags(Filters=[{"Name": name, "Values": [value]}])["Tags"]
        assert [(tag["Key"], tag["ResourceId"], tag["ResourceType"]) for tag in found] == [
            ("role", instance_id, "instance")
        ]
    boto.delete_tags(Resources=[instance_id], Tags=[{"Key": "role", "Value": "front"}, {"Key": "nothing"}])
    assert set(tags_of(boto)) == {"Name", "role", "empty"}
    boto.delete_tags(Resources=[instance_id], Tags=[{"Key": "role", "Value": "back"}, {"Key": "empty"}])
    assert set(tags_of(boto)) == {"Name"}
    boto.delete_tags(Resources=[instance_id])
    assert tags_of(boto) == {}


def test_tags_that_could_not_be_kept_are_refused(world: World) -> None:
    boto = world.boto()
    instance_id = world.launch(boto)["InstanceId"]
    group = boto.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    for resources, tags, code in (
        ([instance_id, group], [{"Key": "a"}], "UnsupportedOperation"),
        (["web"], [{"Key": "a"}], "UnsupportedOperation"),
        (["i-" + "0" * 17], [{"Key": "a"}], "InvalidInstanceID.NotFound"),
        ([instance_id, "i-" + "0" * 17], [{"Key": "a"}], "InvalidInstanceID.NotFound"),
        ([instance_id], [{"Key": "aws:a"}], "InvalidParameterValue"),
        ([instance_id], [{"Key": "a"}, {"Key": "a"}], "InvalidParameterValue"),
        ([instance_id], [{"Key": "x" * 256}], "InvalidParameterValue"),
        ([instance_id], [{"Key": str(n)} for n in range(129)], "TagLimitExceeded"),
    ):
        said = refusal(lambda r=resources, t=tags: boto.create_tags(Resources=r, Tags=t))
        assert said[0] == code, (resources, tags)
    assert tags_of(boto) == {}
    tags = [{"ResourceType": "key-pair", "Tags": [{"Key": "a", "Value": "b"}]}]
    assert refusal(lambda: boto.create_key_pair(KeyName="k", TagSpecifications=tags))[0] == "UnsupportedOperation"
    assert boto.describe_key_pairs()["KeyPairs"] == []


def test_there_are_no_volumes(world: World) -> None:
    boto = world.boto()
    assert boto.describe_volumes(Filters=[{"Name": "status", "Values": ["in-use"]}])["Volumes"] == []
    assert refusal(lambda: boto.describe_volumes(VolumeIds=["vol-" + "0" * 17]))[0] == "InvalidVolume.NotFound"


def test_a_project_has_one_vpc_with_its_subnets_and_interfaces(world: World) -> None:
    boto, other = world.boto(), world.boto("admin", "admin")
    vpc = boto.describe_vpcs()["Vpcs"][0]
    assert (vpc["IsDefault"], vpc["CidrBlock"], vpc["State"]) == (True, "10.77.0.0/24", "available")
    assert boto.describe_vpcs(Filters=[{"Name": "isDefault", "Values": ["true"]}])["Vpcs"] == [vpc]
    assert boto.describe_vpcs(Filters=[{"Name": "isDefault", "Values": ["false"]}])["Vpcs"] == []
    assert other.describe_vpcs()["Vpcs"][0]["VpcId"] != vpc["VpcId"]
    assert refusal(lambda: other.describe_vpcs(VpcIds=[vpc["VpcId"]]))[0] == "InvalidVpcID.NotFound"
    subnet = boto.describe_subnets()["Subnets"][0]
    assert (subnet["CidrBlock"], subnet["VpcId"]) == ("10.77.0.0/24", vpc["VpcId"])
    assert (subnet["DefaultForAz"], subnet["MapPublicIpOnLaunch"]) == (True, True)
    free = subnet["AvailableIpAddressCount"]
    assert other.describe_subnets()["Subnets"] == [], "the external network's own are no place for an instance"
    seen = world.launch(boto)
    assert boto.describe_subnets()["Subnets"][0]["AvailableIpAddressCount"] == free - 1
    for name, value in (
        ("attachment.instance-id", seen["InstanceId"]),
        ("private-ip-address", seen["PrivateIpAddress"]),
        ("association.public-ip", seen["PublicIpAddress"]),
    ):
        found = boto.describe_network_interfaces(Filters=[{"Name": name, "Values": [value]}])["NetworkInterfaces"]
        assert [each["NetworkInterfaceId"] for each in found] == [seen["NetworkInterfaces"][0]["NetworkInterfaceId"]]
    assert found[0]["Attachment"]["InstanceId"] == seen["InstanceId"]
    assert [group["GroupName"] for group in found[0]["Groups"]] == ["default"]
    assert found[0]["SubnetId"] == subnet["SubnetId"]
    legs = [{"Name": "requester-managed", "Values": ["true"]}]
    router = boto.describe_network_interfaces(Filters=legs)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    named = [{"DeviceIndex": 0, "NetworkInterfaceId": router}]
    launch = {"ImageId": world.ami, "MinCount": 1, "MaxCount": 1, "NetworkInterfaces": named}
    assert refusal(lambda: boto.run_instances(**launch))[0] == "InvalidNetworkInterfaceID.NotFound"
