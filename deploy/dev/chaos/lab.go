package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
	"github.com/tradingflow/weather-station/deploy/dev/servers"
)

// Lab is what trials share: servers, binaries, a place for evidence.
type Lab struct {
	Root     string
	Evidence string // folder of this run
	Race     bool   // binaries with the race detector
	Say      io.Writer

	alone *servers.Set
}

// single returns servers of one node each, with binaries that have failpoints;
// these do nothing unless they are asked to.
func (l *Lab) single(context.Context) (*servers.Set, error) {
	if l.alone != nil {
		return l.alone, nil
	}
	began := time.Now()
	s, err := servers.Start(servers.Config{Root: l.Root, Build: rig.Packages, Tags: "failpoint", Race: l.Race})
	if err != nil {
		return nil, err
	}
	l.alone = s
	_, err = fmt.Fprintf(l.Say, "servers and binaries are there after %s\n", time.Since(began).Round(100*time.Millisecond))
	return s, err
}

// discard ends servers that a failed trial leaves behind.
func (l *Lab) discard(s *servers.Set) {
	if s != nil && s == l.alone {
		l.alone = nil
		if err := s.Close(); err != nil {
			_, _ = fmt.Fprintln(l.Say, err)
		}
	}
}

// Close ends everything.
func (l *Lab) Close() error {
	var faults []error
	if l.alone != nil {
		faults = append(faults, l.alone.Close())
	}
	return errors.Join(faults...)
}

// Tidy removes the folder for evidence when there is none.
func (l *Lab) Tidy() {
	rest, err := os.ReadDir(l.Evidence)
	if err == nil && (len(rest) == 0 || len(rest) == 1 && rest[0].Name() == "schedule.json") {
		_ = os.RemoveAll(l.Evidence) // a clean run leaves nothing to look at
	}
}
