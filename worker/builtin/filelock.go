//go:build unix

package builtin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/worker/node"
)

const lockRetry = 5 * time.Millisecond

// lockFile opens the file for appending, creating it, and takes its flock,
// which excludes every other open file, of this process as of any other. The
// file is still the one of that name when it returns. Closing it gives the
// lock back.
func lockFile(ctx context.Context, root *os.Root, name string) (*os.File, error) {
	for {
		f, err := openAppend(root, name)
		if err != nil {
			return nil, err
		}
		err = flock(ctx, f)
		if err == nil {
			held, errHeld := f.Stat()
			named, errNamed := root.Stat(name)
			if errHeld == nil && errNamed == nil && os.SameFile(held, named) {
				return f, nil
			}
			err = errHeld
		}
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
	}
}

func openAppend(root *os.Root, name string) (*os.File, error) {
	if info, err := root.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, permanentf("%s is not a regular file", name)
	} else if err != nil && !os.IsNotExist(err) && !os.IsPermission(err) {
		return nil, node.Permanent(err) // a path that escapes
	}
	return root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
}

func flock(ctx context.Context, f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return err
		}
		if err := wait(ctx, lockRetry); err != nil {
			return err
		}
	}
}

// replaceFile puts a new file in the place of the old one: a reader sees the
// one or the other, and so does a crash.
func replaceFile(root *os.Root, name, format string, columns []string, recs []record, intent uuid.UUID) error {
	var text []byte
	if len(recs) > 0 {
		body, header, err := encode(format, nil, columns, recs, intent)
		if err != nil {
			return node.Permanent(fmt.Errorf("%s: %w", name, err))
		}
		if format == formatCSV {
			text = csvLine(header)
		}
		text = append(text, body...)
	}
	if info, err := root.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return permanentf("%s is not a regular file", name)
	}
	temporary := path.Join(path.Dir(path.Clean(name)), "."+path.Base(name)+"."+rand.Text())
	if err := writeSynced(root, temporary, text); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), root.Remove(temporary))
	}
	if err := root.Rename(temporary, name); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), root.Remove(temporary))
	}
	return syncFolder(root, name)
}

// syncFolder makes the name of a new file durable.
func syncFolder(root *os.Root, name string) error {
	dir, err := root.Open(path.Dir(path.Clean(name)))
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func writeSynced(root *os.Root, name string, text []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
