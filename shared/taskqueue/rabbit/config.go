package rabbit

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"
	amqp "github.com/rabbitmq/amqp091-go"
)

// Config is what Publisher, Consumer and Admin need to know.
type Config struct {
	// URL is amqp://user:password@host:port/vhost or amqps://… for TLS; query
	// parameters (cacertfile, certfile, keyfile, server_name_indication,
	// heartbeat, …) as RabbitMQ's URI specification has them. Several brokers of one
	// cluster are separated by commas; each connection goes to one of them, and to
	// another one when that is lost. It is never logged.
	URL string
	// Prefix of all queue names; it names the parking queue.
	Prefix string
	// Name of the process, shown in the broker's list of connections.
	Name string
	// Log receives state changes; nil is silent.
	Log hclog.Logger
	// QueueType is the type of every queue but those of PoolTypes; Auto when empty.
	QueueType string
	// PoolTypes are the types of single pools' queues.
	PoolTypes map[string]string
}

// Validate tells everything that is wrong with c. Run fails with the same error.
func (c Config) Validate() error {
	var faults []error
	for i, u := range c.urls() {
		if _, err := amqp.ParseURI(u); err != nil {
			// The parser's own text may quote the password.
			faults = append(faults, fmt.Errorf("URL: address %d cannot be read; want amqp://user:password@host:port/vhost with special characters percent-encoded, "+
				"and commas between several", i+1))
		}
	}
	if c.Prefix == "" {
		faults = append(faults, errors.New("Prefix: is empty; give the prefix of all queue names"))
	}
	if c.QueueType != "" && !slices.Contains(types, c.QueueType) {
		faults = append(faults, fmt.Errorf("QueueType: is %q; want %s", c.QueueType, oneOf()))
	}
	faults = append(faults, checkPools(c.PoolTypes)...)
	if len(faults) > 0 {
		return fmt.Errorf("rabbitmq settings: %w", errors.Join(faults...))
	}
	return nil
}

// urls are the brokers. A comma separates two of them only before the next one's
// scheme, for a password may hold one.
func (c Config) urls() []string {
	var out []string
	for _, part := range strings.Split(c.URL, ",") {
		next := strings.HasPrefix(part, "amqp://") || strings.HasPrefix(part, "amqps://")
		if next || len(out) == 0 {
			out = append(out, part)
			continue
		}
		out[len(out)-1] += "," + part
	}
	return out
}

// address is where a broker is, without the credentials.
func address(broker string) string {
	uri, err := amqp.ParseURI(broker)
	if err != nil {
		return ""
	}
	return uri.Scheme + "://" + net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port)) + "/" + strings.TrimPrefix(uri.Vhost, "/")
}

func (c Config) logger(role string) hclog.Logger {
	if c.Log == nil {
		return hclog.NewNullLogger()
	}
	return c.Log.With("role", role)
}
