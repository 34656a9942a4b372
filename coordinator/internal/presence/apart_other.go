//go:build !linux

package presence

import (
	"context"
	"net"

	"github.com/hashicorp/go-hclog"
)

func serveApart(context.Context, net.Listener, string, hclog.Logger) bool { return false }
