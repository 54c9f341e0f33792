#!/busybox sh
# The emulated machine's first process: finds its two disks by name, mounts them, runs the job.
B=/busybox
$B mkdir -p /proc /sys /dev /mnt
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
for module in virtio_ring virtio virtio_mmio virtio_blk; do
  [ -f /$module.ko ] && $B insmod /$module.ko
done

disk() { # disk NAME: the device QEMU gave that serial, waited for as long as five seconds
  tries=0
  while [ $tries -lt 50 ]; do
    for block in /sys/block/vd*; do
      [ "$($B cat $block/serial 2>/dev/null)" = "$1" ] && echo /dev/${block##*/} && return
    done
    tries=$((tries + 1)); $B sleep 0.1
  done
}

mode=ro; $B grep -q edgetl.writable /proc/cmdline && mode=rw
$B mount -t ext4 -o $mode "$(disk system)" /mnt && $B mount -t ext4 "$(disk job)" /mnt/job ||
  echo "@failed the disks cannot be mounted"
for folder in proc sys dev; do $B mount --bind /$folder /mnt/$folder; done
$B mkdir -p /mnt/dev/shm
$B mount -t tmpfs shm /mnt/dev/shm
$B mount -t tmpfs tmp /mnt/tmp
$B ifconfig lo 127.0.0.1 up
export PYTHONPATH=/opt/site:/job HOME=/tmp LC_ALL=C.UTF-8 PYTHONHASHSEED=0 PATH=/usr/bin:/usr/sbin
$B chroot /mnt /usr/bin/python3.11 /job/start.py
code=$?
$B sync
$B umount /mnt/job
[ $mode = rw ] && $B mount -o remount,ro /mnt
# Last of all: the host ends the machine when it reads this.
echo "@exit $code"
$B poweroff -f
