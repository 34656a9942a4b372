package topology

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// errEtcd says that the embedded etcd stopped by itself.
var errEtcd = errors.New("embedded etcd stopped")

// startEtcd starts a single node on free ports and waits until it serves.
func (t *Topology) startEtcd(ctx context.Context) error {
	cfg := embed.NewConfig()
	cfg.Name = "station-dev"
	if cfg.Dir = t.cfg.EtcdDir; cfg.Dir == "" {
		tmp, err := os.MkdirTemp("", "station-dev-etcd-")
		if err != nil {
			return fmt.Errorf("make etcd's folder: %w", err)
		}
		t.tmp, cfg.Dir = tmp, tmp
		cfg.UnsafeNoFsync = true // thrown away at the end
	}
	free := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = free, free
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = free, free
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	// A lease lasts at least one and a half election timeouts: this allows
	// leaderships of one second.
	cfg.TickMs, cfg.ElectionMs = 50, 500
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(fatalOnly(t.cfg.Log.Named("etcd")))
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("start embedded etcd: %w", err)
	}
	t.etcd = e
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	select {
	case <-e.Server.ReadyNotify():
		return nil
	case <-e.Server.StopNotify():
		return errEtcd
	case err := <-e.Err():
		return errors.Join(errEtcd, err)
	case <-late.C:
		return errors.New("embedded etcd does not serve after a minute")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fatalOnly passes on what ends etcd, and with it the process. The rest is of
// no use here: it reports errors whenever it is closed.
func fatalOnly(log hclog.Logger) *zap.Logger {
	out := zapcore.AddSync(log.StandardWriter(&hclog.StandardLoggerOptions{ForceLevel: hclog.Error}))
	lines := zapcore.NewConsoleEncoder(zapcore.EncoderConfig{MessageKey: "message", ConsoleSeparator: " "})
	return zap.New(zapcore.NewCore(lines, out, zapcore.DPanicLevel))
}

func (t *Topology) etcdAddr() string { return t.etcd.Clients[0].Addr().String() }

// watchEtcd fails when etcd stops by itself; closing it is close's work.
func (t *Topology) watchEtcd(ctx context.Context) error {
	select {
	case <-t.etcd.Server.StopNotify():
		return errEtcd
	case err := <-t.etcd.Err():
		return errors.Join(errEtcd, err)
	case <-ctx.Done():
		return nil
	}
}
