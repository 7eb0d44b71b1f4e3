"""api/ec2/instances"""
