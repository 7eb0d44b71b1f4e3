"""Guest images built on the user's machine from distribution packages: nothing of them is ever shipped.

`build_tiny` makes the test guest (kernel, ramdisk, small disk) in well under three seconds once its packages
are in the cache; `build_debian` makes a Debian with the real cloud-init, in minutes, as root.
A finished build appears by rename, whole: what is there is finished, and a second call only finds it.
"""
