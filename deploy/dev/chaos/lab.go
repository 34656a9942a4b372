package chaos

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/tradingflow/weather-station/deploy/dev/chaos/rig"
	"github.com/tradingflow/weather-station/deploy/dev/servers"
)

// Lab is what trials share: servers, binaries, a place for evidence.
type Lab struct {
	Root     string
	Evidence string // folder of this run
	Race     bool   // binaries with the race detector
	Slack    int    // limits of figures are so many times wider; 0 = as they are
	Say      io.Writer

	bin  string
	sets map[string]*servers.Set // by topology
}

// servers returns servers of a topology, with binaries that have failpoints; these
// do nothing unless they are asked to.
func (l *Lab) servers(topology string) (*servers.Set, error) {
	if s := l.sets[topology]; s != nil {
		return s, nil
	}
	began := time.Now()
	if l.bin == "" {
		if err := l.build(); err != nil {
			return nil, err
		}
	}
	s, err := servers.Start(servers.Config{Root: l.Root, Bin: l.bin, Topology: topology})
	if err != nil {
		return nil, err
	}
	if l.sets == nil {
		l.sets = map[string]*servers.Set{}
	}
	l.sets[topology] = s
	_, err = fmt.Fprintf(l.Say, "servers are there after %s\n", time.Since(began).Round(100*time.Millisecond))
	return s, err
}

// build builds the binaries once for all servers.
func (l *Lab) build() error {
	dir, err := os.MkdirTemp("", "station-chaos-bin.")
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	l.bin = dir
	args := []string{"build", "-tags", "failpoint", "-o", dir + "/"}
	if l.Race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, rig.Packages...)...)
	cmd.Dir = l.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// discard ends servers that a failed trial leaves behind.
func (l *Lab) discard(s *servers.Set) {
	if s == nil || l.sets[s.Topology] != s {
		return
	}
	delete(l.sets, s.Topology)
	if err := s.Close(); err != nil {
		_, _ = fmt.Fprintln(l.Say, err)
	}
}

// Close ends everything.
func (l *Lab) Close() error {
	var faults []error
	for _, s := range l.sets {
		faults = append(faults, s.Close())
	}
	l.sets = nil
	if l.bin != "" {
		faults = append(faults, os.RemoveAll(l.bin))
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
