// Package netns gives a process a network of its own: a network namespace that
// is tied to this machine by one pair of virtual interfaces. What is lost there
// is lost as on a wire: nobody acknowledges it, and nobody is told.
//
// It needs root and the ip tool. The namespace goes with Close; one that a killed
// run leaves behind is called station-… in "ip netns list" and hurts nobody.
package netns

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
)

// Loss says which packets between the namespace and the machine are lost.
type Loss string

// The ways in which packets are lost.
const (
	Both Loss = "both ways"   // silently
	Out  Loss = "out of it"   // silently, of the two directions this alone
	In   Loss = "into it"     // silently, of the two directions this alone
	Down Loss = "link's down" // the interface in the namespace is down; who dials there is told so
)

// Net is one namespace.
type Net struct {
	Host   string // this machine's address on the link
	Inside string // the namespace's address

	name, hostEnd, insideEnd string
}

// Missing says why there can't be namespaces here; "" when there can.
func Missing() string {
	if os.Geteuid() != 0 {
		return "network namespaces need root"
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return "the ip tool (iproute2) is not installed"
	}
	return ""
}

// Open makes a namespace. The caller closes it.
func Open() (*Net, error) {
	if why := Missing(); why != "" {
		return nil, errors.New(why)
	}
	id := rand.Uint32()
	third, fourth := 1+int(id>>8)%250, int(id%60)*4 // 169.254.0.* and 169.254.255.* are reserved
	n := &Net{Host: fmt.Sprintf("169.254.%d.%d", third, fourth+1), Inside: fmt.Sprintf("169.254.%d.%d", third, fourth+2),
		name: fmt.Sprintf("station-%08x", id), hostEnd: fmt.Sprintf("wsh%08x", id), insideEnd: fmt.Sprintf("wsn%08x", id)}
	if err := ip("netns", "add", n.name); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"link", "add", n.hostEnd, "type", "veth", "peer", "name", n.insideEnd, "netns", n.name},
		{"addr", "add", n.Host + "/30", "dev", n.hostEnd},
		{"link", "set", n.hostEnd, "up"},
		{"-n", n.name, "addr", "add", n.Inside + "/30", "dev", n.insideEnd},
		{"-n", n.name, "link", "set", "lo", "up"},
		{"-n", n.name, "link", "set", n.insideEnd, "up"},
	} {
		if err := ip(args...); err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// Close removes the namespace, and the link with it once no process is inside.
func (n *Net) Close() error {
	_ = ip("link", "del", n.hostEnd) // it may never have been made
	return ip("netns", "del", n.name)
}

// Command is what runs a program in the namespace: it becomes that program.
func (n *Net) Command(path string, args []string) (string, []string) {
	return "ip", append([]string{"netns", "exec", n.name, path}, args...)
}

// nobody is a hardware address that no interface of the link has: what is sent to
// it arrives and is thrown away.
const nobody = "02:00:00:00:00:99"

// Lose begins to lose packets.
func (n *Net) Lose(l Loss) error {
	var err error
	if l == Both || l == In {
		err = ip("neigh", "replace", n.Inside, "lladdr", nobody, "nud", "permanent", "dev", n.hostEnd)
	}
	if err == nil && (l == Both || l == Out) {
		err = ip("-n", n.name, "neigh", "replace", n.Host, "lladdr", nobody, "nud", "permanent", "dev", n.insideEnd)
	}
	if l == Down {
		err = ip("-n", n.name, "link", "set", n.insideEnd, "down")
	}
	return err
}

// Heal ends every loss.
func (n *Net) Heal() error {
	if err := ip("-n", n.name, "link", "set", n.insideEnd, "up"); err != nil {
		return err
	}
	_ = ip("neigh", "del", n.Inside, "dev", n.hostEnd) // one that is not there is as good
	_ = ip("-n", n.name, "neigh", "del", n.Host, "dev", n.insideEnd)
	return nil
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
