package namespace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"scap/sync/release"
	"scap/targets/fpm/trust"
)

// Enter makes this release the only one that the process sees. The process must be in a mount namespace of its own already
// (CLONE_NEWNS): Enter refuses the one of pid 1 and of the parent. Afterwards the served path leads to the release, which
// Enter has verified; the pin is one through the namespace, not close-on-exec, and the working directory is the same path
// seen anew. When it fails the process must end: its view may be half made.
func (r *Release) Enter() error {
	if err := r.enter(); err != nil {
		return fmt.Errorf("enter release %s: %w", r.spec.Release.Short(), err)
	}
	return nil
}

func (r *Release) enter() error {
	if err := ownNamespace(); err != nil {
		return err
	}
	wd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	// What is mounted from here on is nobody else's, and what the host mounts or unmounts still arrives.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("part with the host's mounts (make-rslave /): %w (in a chroot that is no mount point it is not possible)", err)
	}
	// A descriptor from before leads into the host's namespace, from which nothing can be mounted here.
	root, err := openRoot(r.spec.Root, os.Geteuid() == 0)
	if err != nil {
		return err
	}
	defer root.close()
	fd, st, err := root.open(r.spec)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !same(&st, &r.stat) {
		return errors.New("another directory stands in its place now")
	}
	cover, err := coverRoot(root, r.spec.Release)
	if err != nil {
		return err
	}
	defer unix.Close(cover)
	if err := mountRelease(cover, fd, r.spec.Release); err != nil {
		return err
	}
	if err := r.repin(cover); err != nil {
		return err
	}
	if err := os.Chdir(wd); err != nil {
		return fmt.Errorf("working directory: %w: it is not in this release", err)
	}
	return r.verify()
}

// ownNamespace refuses to work where others would see it.
func ownNamespace() error {
	own, err := Inside(os.Getpid())
	if err != nil {
		return err
	}
	known := false
	for _, pid := range []int{1, os.Getppid()} {
		other, err := Inside(pid)
		if err != nil {
			continue // not ours to look at
		}
		known = true
		if other == own && pid != os.Getpid() {
			return fmt.Errorf("it is the mount namespace of pid %d too: start the process in one of its own", pid)
		}
	}
	if known {
		return nil
	}
	// Nobody can be compared with. In a user namespace of its own a process can mount only in mount namespaces of its own.
	user, err := inode("/proc/self/ns/user")
	if err != nil {
		return err
	}
	if user == initialUser {
		return errors.New("cannot tell whether the mount namespace is this process's own: /proc/1/ns/mnt is not readable")
	}
	return nil
}

// initialUser is the inode of the first user namespace (PROC_USER_INIT_INO).
const initialUser = 0xEFFFFFFD

// coverRoot puts a file system of three names over the root and returns it.
func coverRoot(r *root, id release.ID) (fd int, err error) {
	conf, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("make a tmpfs: %w", err)
	}
	defer unix.Close(conf)
	for _, kv := range [][2]string{{"source", "scap"}, {"size", "64k"}, {"nr_inodes", "16"}, {"mode", "0755"}} {
		if err := unix.FsconfigSetString(conf, kv[0], kv[1]); err != nil {
			return -1, fmt.Errorf("make a tmpfs with %s=%s: %w", kv[0], kv[1], err)
		}
	}
	if err := unix.FsconfigCreate(conf); err != nil {
		return -1, fmt.Errorf("make a tmpfs: %w", err)
	}
	fd, err = unix.Fsmount(conf, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return -1, fmt.Errorf("make a tmpfs: %w", err)
	}
	name := releasesName + "/" + id.String()
	err = errors.Join(mkdir(fd, releasesName), mkdir(fd, name), unix.Symlinkat(name, fd, currentName))
	if err == nil {
		err = unix.MoveMount(fd, "", r.fd, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("cover %s: %w", r.real, err)
	}
	return fd, nil
}

// mkdir makes a directory that everybody may read, whatever the umask.
func mkdir(at int, name string) error {
	if err := unix.Mkdirat(at, name, 0o755); err != nil {
		return err
	}
	return unix.Fchmodat(at, name, 0o755, 0)
}

// mountRelease mounts the release's directory, read-only, under the cover, and seals that.
func mountRelease(cover, dir int, id release.ID) error {
	tree, err := unix.OpenTree(dir, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("mount the release: %w", err)
	}
	defer unix.Close(tree)
	if err := unix.MoveMount(tree, "", cover, releasesName+"/"+id.String(), unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount the release: %w", err)
	}
	// What the host forbids there stays forbidden: in a user namespace the kernel insists on it.
	var st unix.Statfs_t
	if err := unix.Fstatfs(tree, &st); err != nil {
		return err
	}
	flags := uintptr(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV)
	for have, also := range map[int64]uintptr{
		unix.ST_NOEXEC: unix.MS_NOEXEC, unix.ST_NOATIME: unix.MS_NOATIME, unix.ST_NODIRATIME: unix.MS_NODIRATIME, unix.ST_RELATIME: unix.MS_RELATIME,
	} {
		if st.Flags&have != 0 {
			flags |= also
		}
	}
	if err := unix.Mount("", fdPath(tree), "", unix.MS_REMOUNT|unix.MS_BIND|flags, ""); err != nil {
		return fmt.Errorf("make the release read-only: %w", err)
	}
	const sealed = unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("", fdPath(cover), "", sealed, ""); err != nil {
		return fmt.Errorf("seal what covers the root: %w", err)
	}
	return nil
}

func fdPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// repin exchanges the pin for one through the namespace: from the other, whoever inherits it could walk to the host's
// releases. It is inherited by what the process executes.
func (r *Release) repin(cover int) error {
	fd, err := trust.Openat(cover, releasesName+"/"+r.spec.Release.String(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	f := os.NewFile(uintptr(fd), r.Path())
	if err := pin(fd); err != nil {
		return errors.Join(fmt.Errorf("pin: %w", err), f.Close())
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		return errors.Join(fmt.Errorf("pin: %w", err), f.Close())
	}
	old := r.pin
	r.pin = f
	return old.Close()
}

// verify follows the served path as any process here would.
func (r *Release) verify() error {
	fd, err := trust.Openat(unix.AT_FDCWD, r.spec.Served, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("follow %s: %w: it must lead to %s/%s", r.spec.Served, err, r.spec.Root, currentName)
	}
	defer unix.Close(fd)
	return r.is(fd, r.spec.Served)
}

// is checks that fd, reached by path, is the release in a namespace.
func (r *Release) is(fd int, path string) error {
	var st unix.Stat_t
	var sf unix.Statfs_t
	if err := errors.Join(unix.Fstat(fd, &st), unix.Fstatfs(fd, &sf)); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	switch at, err := os.Readlink(fdPath(fd)); {
	case err != nil:
		return err
	case !same(&st, &r.stat):
		return fmt.Errorf("%s leads to %s, not to the release: it must be a link to %s", path, at, filepath.Join(r.spec.Root, currentName))
	case sf.Flags&unix.ST_RDONLY == 0:
		return fmt.Errorf("%s leads to %s, where the release can be written to", path, at)
	}
	return nil
}
