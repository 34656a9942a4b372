package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// ListenLocal takes a port that only this machine may reach. what names it in
// errors, danger says what those who reach it can do.
func ListenLocal(ctx context.Context, what, address, danger string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%s: address %q: give HOST:PORT, as 127.0.0.1:7009: %w", what, address, err)
	}
	if !loopback(host) {
		return nil, fmt.Errorf("%s: address %q is not of this machine alone: whoever reaches it can %s; give a loopback address, as 127.0.0.1:7009", what, address, danger)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if a, ok := ln.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		return nil, errors.Join(fmt.Errorf("%s: address %q is %s here, which is no loopback address", what, address, ln.Addr()), ln.Close())
	}
	return ln, nil
}

// loopback reports whether a host's name is one of this machine alone.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// CheckLocal refuses a request that came by a host name which somebody let point
// to this machine: a page in a browser here may have been made to send it.
func CheckLocal(r *http.Request) error {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if !loopback(strings.Trim(host, "[]")) {
		return fmt.Errorf("host %q: use a loopback address", r.Host)
	}
	return nil
}
