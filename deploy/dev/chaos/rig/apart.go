package rig

import (
	"fmt"
	"net"

	"github.com/tradingflow/weather-station/deploy/dev/links"
	"github.com/tradingflow/weather-station/deploy/dev/netns"
	"github.com/tradingflow/weather-station/deploy/dev/procs"
)

// openNet makes the network of Options.Apart. The servers listen on loopback, so
// that part finds them through relays on the machine's end of its link, which do
// nothing but pass on. All parts listen at addresses of that link: a loopback
// address of the same machine is one that the part apart would find refused.
func (c *Cluster) openNet() (err error) {
	if c.doors, err = links.Open(nil); err != nil {
		return err
	}
	if c.Net, err = netns.Open(); err != nil {
		c.doors.Close()
	}
	return err
}

func (c *Cluster) apart(name string) bool { return c.Net != nil && name == c.Apart }

// listen returns a free address for a part to listen at.
func (c *Cluster) listen(name string) (string, error) {
	a, err := procs.Address()
	if err != nil || c.Net == nil {
		return a, err
	}
	_, port, err := net.SplitHostPort(a)
	if err != nil {
		return "", fmt.Errorf("address of %s: %w", name, err)
	}
	if c.apart(name) {
		return net.JoinHostPort(c.Net.Inside, port), nil
	}
	return net.JoinHostPort(c.Net.Host, port), nil
}

// door puts the relay's address in place of a server's.
func (c *Cluster) door(who, whom, address string) (string, error) {
	name := who + ">" + whom
	if err := c.doors.Add(links.Link{Name: name, Listen: net.JoinHostPort(c.Net.Host, "0"), Target: hostPort.FindString(address)}); err != nil {
		return "", fmt.Errorf("start cluster: %w", err)
	}
	return hostPort.ReplaceAllLiteralString(address, c.doors.Addr(name)), nil
}
