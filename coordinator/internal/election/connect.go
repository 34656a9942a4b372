package election

import (
	"crypto/tls"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// ConnectConfig says how to reach etcd.
type ConnectConfig struct {
	Endpoints []string    // http:// or https:// URLs, or host:port
	Username  string      // empty: no authentication
	Password  string      //
	TLS       *tls.Config // nil: as the endpoints' scheme says
}

// Connect makes an etcd client with the settings that election and catalog
// count on: a connection on which nothing is acknowledged is given up after two
// seconds, one on which the peer is merely silent after twelve (gRPC allows no
// shorter pings), and the client itself prints nothing. It does not wait for a connection. The caller closes
// the client.
func Connect(cfg ConnectConfig) (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		Username:             cfg.Username,
		Password:             cfg.Password,
		TLS:                  cfg.TLS,
		DialTimeout:          3 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 2 * time.Second,
		PermitWithoutStream:  true,
		BackoffWaitBetween:   50 * time.Millisecond,
		Logger:               zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("make etcd client: %w", err)
	}
	return c, nil
}
