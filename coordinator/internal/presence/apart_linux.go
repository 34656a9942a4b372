package presence

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// serveApart is Serve from a thread of its own. false says that it can't be done here,
// and that nothing was done.
func serveApart(ctx context.Context, ln net.Listener, name string, log hclog.Logger) bool {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	own := -1
	if cerr := raw.Control(func(fd uintptr) { own, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) }); cerr != nil || err != nil {
		return false
	}
	end, err := newBell()
	if err != nil {
		_ = unix.Close(own)
		return false
	}
	begun, apart, ended := make(chan error, 1), make(chan bool), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this function
		begun <- leave(end)
		if !<-apart {
			return
		}
		shed(own, end.ear)
		ended <- answer(own, end.ear, name)
	}()
	if err = <-begun; err == nil && !end.whole() {
		err = errors.New("the thread's descriptors are still the process's")
	}
	apart <- err == nil
	_, _ = unix.Close(own), unix.Close(end.ear) // the thread has its own
	if err != nil {
		log.Debug("presence is not served apart", "error", err)
		if end.whole() {
			_ = unix.Close(end.rope)
		}
		return false
	}
	defer func() { _ = unix.Close(end.rope) }()
	_ = ln.Close() // the same
	select {
	case <-ctx.Done():
		_, _ = unix.Write(end.rope, []byte{0}) // it is empty: there is room
		err = <-ended
	case err = <-ended:
	}
	if err != nil {
		log.Error("others can't see any more that this process lives", "error", err)
	}
	return true
}

// bell ends the thread: a pipe.
type bell struct {
	ear, rope int
	inode     uint64 // of the pipe
}

func newBell() (bell, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return bell{}, err
	}
	b := bell{ear: p[0], rope: p[1]}
	var s unix.Stat_t
	if err := unix.Fstat(b.rope, &s); err != nil {
		return bell{}, errors.Join(err, unix.Close(b.ear), unix.Close(b.rope))
	}
	b.inode = s.Ino
	return b, nil
}

// whole reports whether the rope is open in the table of the calling thread.
func (b bell) whole() bool {
	var s unix.Stat_t
	return unix.Fstat(b.rope, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFIFO && s.Ino == b.inode
}

// leave gives the calling thread descriptors of its own, and closes the rope there: where
// it is closed for the process too, a system only said that it can do this.
func leave(b bell) error {
	const none = 1 << 30
	if err := unix.CloseRange(none, none, unix.CLOSE_RANGE_UNSHARE); err != nil {
		return fmt.Errorf("unshare descriptors: %w", err)
	}
	if _, err := os.Stat(descriptors); err != nil {
		return err
	}
	return unix.Close(b.rope)
}

// descriptors is where the calling thread's are listed.
const descriptors = "/proc/thread-self/fd"

// shed closes the thread's sockets but these. What is none stays, for the runtime has
// some that every thread needs.
func shed(keep ...int) {
	all, err := os.ReadDir(descriptors)
	if err != nil {
		return // they only stay open until the process ends
	}
	for _, e := range all {
		fd, err := strconv.Atoi(e.Name())
		var s unix.Stat_t
		if err == nil && fd > 2 && !slices.Contains(keep, fd) && unix.Fstat(fd, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFSOCK {
			_ = unix.Close(fd) // it stands in the process's own table
		}
	}
}

// answer tells the name to who connects and holds the connections, until the bell rings.
// It makes system calls only: what it keeps open is nobody else's.
func answer(ln, bell int, name string) error {
	polled := []unix.PollFd{{Fd: int32(bell), Events: unix.POLLIN}, {Fd: int32(ln), Events: unix.POLLIN}}
	defer func() {
		for _, p := range polled {
			_ = unix.Close(int(p.Fd))
		}
	}()
	for {
		wait := -1
		if polled[1].Events == 0 {
			wait = 100 // ms; there was no room for another connection
		}
		if _, err := unix.Poll(polled, wait); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll: %w", err)
		}
		if polled[0].Revents != 0 {
			return nil
		}
		if polled[1].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0 {
			return errors.New("the listener is shut")
		}
		polled = slices.DeleteFunc(polled, func(p unix.PollFd) bool {
			return int(p.Fd) != bell && int(p.Fd) != ln && p.Revents != 0 && over(int(p.Fd))
		})
		polled[1].Events = unix.POLLIN
		if polled[1].Revents == 0 && wait < 0 {
			continue
		}
		conn, _, err := unix.Accept4(ln, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOBUFS):
			polled[1].Events = 0
		case err != nil: // who dialled has gone, or there was nobody
		case !greet(conn, name):
			_ = unix.Close(conn)
		default:
			polled = append(polled, unix.PollFd{Fd: int32(conn), Events: unix.POLLIN})
		}
	}
}

// greet tells the name, and has the kernel look whether the other side is there.
func greet(conn int, name string) bool {
	_ = unix.SetsockoptInt(conn, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(conn, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15)
	_ = unix.SetsockoptInt(conn, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15)
	n, err := unix.Write(conn, []byte(name+"\n"))
	return err == nil && n == len(name)+1
}

// over reads what nobody needs, and closes a connection that has ended.
func over(conn int) bool {
	var nothing [64]byte
	n, err := unix.Read(conn, nothing[:])
	if n > 0 || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return false
	}
	_ = unix.Close(conn)
	return true
}
