package links

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Read reads links, one a line: NAME LISTEN TARGET. Empty lines and those that
// begin with # are left out. It lists all faults.
func Read(r io.Reader) ([]Link, error) {
	var out []Link
	var bad []error
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 3 {
			bad = append(bad, fmt.Errorf("line %d: %d words; a link is NAME LISTEN TARGET", n, len(fields)))
			continue
		}
		out = append(out, Link{Name: fields[0], Listen: fields[1], Target: fields[2]})
	}
	return out, errors.Join(append(bad, lines.Err())...)
}
