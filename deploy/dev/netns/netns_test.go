package netns

import (
	"net"
	"os/exec"
	"testing"
	"time"
)

func TestPacketsAreLostAndComeBack(t *testing.T) {
	if why := Missing(); why != "" {
		t.Skip(why)
	}
	n, err := Open()
	if err != nil {
		t.Skip("no network namespaces here: ", err)
	}
	defer func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}()
	l, err := net.Listen("tcp", net.JoinHostPort(n.Host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	reach := func(patience string) error {
		path, args := n.Command("timeout", []string{patience, "bash", "-c", "</dev/tcp/" + n.Host + "/" + port})
		return exec.Command(path, args...).Run()
	}
	if err := reach("10"); err != nil {
		t.Fatal("a whole link: ", err)
	}
	for _, loss := range []Loss{Both, Out, In, Down} {
		if err := n.Lose(loss); err != nil {
			t.Fatal(loss, err)
		}
		began := time.Now()
		if err := reach("0.5"); err == nil {
			t.Errorf("%s: nothing is lost", loss)
		}
		if took := time.Since(began); loss != Down && took < 400*time.Millisecond {
			t.Errorf("%s: who dials is told so after %s", loss, took)
		}
		if err := n.Heal(); err != nil {
			t.Fatal(loss, err)
		}
		if err := reach("10"); err != nil {
			t.Errorf("after %s: %v", loss, err)
		}
	}
}
