package links

import (
	"bytes"
	"net"
	"strings"
)

// How a loopback address stands in what servers say: host:port in values and
// URLs, host and port apart in Sentinel's events and in its answers.
var forms = [][]byte{[]byte("127.0.0.1:"), []byte("127.0.0.1 "), []byte("127.0.0.1\r\n$5\r\n"), []byte("\r\n$4\r\nport\r\n$5\r\n")}

const digits = 5 // of a port

// readdress puts the ports of who's own links in place of their targets' ports.
func (s *Set) readdress(who string, b []byte) {
	var ports map[string]string
	for _, form := range forms {
		for from := 0; ; {
			i := bytes.Index(b[from:], form)
			if i < 0 {
				break
			}
			from += i + len(form)
			if from+digits > len(b) || from+digits < len(b) && '0' <= b[from+digits] && b[from+digits] <= '9' {
				continue
			}
			if ports == nil {
				ports = s.ports(who)
			}
			if to, ok := ports[string(b[from:from+digits])]; ok {
				copy(b[from:], to)
			}
		}
	}
}

// ports maps the target's port to the link's, for the links of who.
func (s *Set) ports(who string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for name, r := range s.relays {
		if !strings.HasPrefix(name, who+">") {
			continue
		}
		_, from, _ := net.SplitHostPort(r.Target())
		_, to, _ := net.SplitHostPort(r.Addr())
		if len(from) == digits && len(to) == digits {
			out[from] = to
		}
	}
	return out
}
