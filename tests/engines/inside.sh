#!/bin/sh
# What becomes process 1 of a lab: it makes the machine's folders its own, says so, and waits.
set -e
box=$1 work=$2 cgroup=$3
ip link set lo up
mount -t tmpfs -o size=3g lab "$work"
mkdir "$work/usr" "$work/usr.work" "$work/etc" "$work/etc.work"
libraries=
[ ! -d "$box-libs" ] || libraries=:$box-libs/usr
mount -t overlay -o "lowerdir=$box/usr:/usr$libraries,upperdir=$work/usr,workdir=$work/usr.work,userxattr" lab /usr
mount -t overlay -o "lowerdir=$box/etc:/etc,upperdir=$work/etc,workdir=$work/etc.work,userxattr" lab /etc
# Engines of the machine's own must not answer for those under test.
for name in docker dockerd podman buildah; do rm -f "/usr/local/bin/$name" "/usr/local/sbin/$name"; done
for folder in /run /var/lib /var/tmp; do mount -t tmpfs lab "$folder"; done
mkdir -p /run/home /run/lock /run/log /var/lib/docker /etc/containers
echo '127.0.0.1 localhost' > /etc/hosts
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
for folder in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ ! -d "$folder/$cgroup" ] || mount --bind "$folder/$cgroup" "$folder"
done
cat > /etc/containers/containers.conf <<'CONF'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
CONF
echo '{"default": [{"type": "insecureAcceptAnything"}]}' > /etc/containers/policy.json
echo ready
# A shell reaps the children of others, too.
exec bash -c 'while :; do sleep 1000 & wait; done'
