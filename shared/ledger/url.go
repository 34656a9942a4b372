package ledger

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// warmConnections are kept open in a pool that is given a size, so that work which
// comes all at once, as after an election, need not wait for them.
const warmConnections = 4

// errUntagged says that a ledger's keys would lie in many slots of a Redis Cluster.
var errUntagged = errors.New("redis cluster needs a hash tag in the prefix, for example station{0}, unless there are partitions")

// parseURL is url.Parse for a list of hosts, which that refuses: all but the first
// are taken out. Errors never hold the URL, which may hold a password.
func parseURL(text string) (u *url.URL, addrs []string, err error) {
	scheme, rest, _ := strings.Cut(text, "://")
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	at := strings.LastIndexByte(rest[:end], '@') + 1
	addrs = strings.Split(rest[at:end], ",")
	u, err = url.Parse(scheme + "://" + rest[:at] + addrs[0] + rest[end:])
	if err != nil || u.Host == "" {
		return nil, nil, errors.New("redis URL is not of the form redis://[user:password@]host:port[/db]")
	}
	for _, a := range addrs {
		if a == "" {
			return nil, nil, errors.New("redis URL has an empty address in its list")
		}
	}
	return u, addrs, nil
}

// options reads the address forms of Config.URL. Its errors never hold the URL,
// which may hold a password.
func options(cfg Config) (*redis.UniversalOptions, error) {
	u, addrs, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	o := &redis.UniversalOptions{
		ClientName:            cfg.Name,
		ContextTimeoutEnabled: true,
		PoolSize:              cfg.Connections,
		MinIdleConns:          min(cfg.Connections, warmConnections),
		DialTimeout:           2 * time.Second,
		ReadTimeout:           3 * time.Second,
		WriteTimeout:          3 * time.Second,
		MinRetryBackoff:       10 * time.Millisecond,
		MaxRetryBackoff:       200 * time.Millisecond,
	}
	path := strings.Trim(u.Path, "/")
	switch u.Scheme {
	case "redis", "rediss":
		single, err := redis.ParseURL(cfg.URL)
		if err != nil {
			return nil, fmt.Errorf("redis URL: database and options can't be read")
		}
		o.Addrs, o.Username, o.Password, o.DB, o.TLSConfig = []string{single.Addr}, single.Username, single.Password, single.DB, single.TLSConfig
		return o, nil
	case "redis+sentinel":
		if path == "" {
			return nil, fmt.Errorf("redis+sentinel URL needs the master's name as its path")
		}
		o.MasterName = path
		if db := u.Query().Get("db"); db != "" {
			if o.DB, err = strconv.Atoi(db); err != nil {
				return nil, fmt.Errorf("redis+sentinel URL: db is not a number")
			}
		}
	case "redis+cluster":
		o.IsClusterMode = true
		if !cfg.parts && !strings.Contains(cfg.Prefix, "{") {
			return nil, errUntagged
		}
	default:
		return nil, fmt.Errorf("redis URL has scheme %q: use redis, rediss, redis+sentinel or redis+cluster", u.Scheme)
	}
	o.Addrs = addrs
	o.Username = u.User.Username()
	o.Password, _ = u.User.Password()
	return o, nil
}
