package floor

import (
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"
)

// Kinds of queues that the floor is measured with.
const (
	Quorum    = "quorum"    // persistent messages in a quorum queue
	Classic   = "classic"   // persistent messages in a durable classic queue
	Transient = "transient" // messages that a durable classic queue may lose with its broker
)

// Config is where the servers are.
type Config struct {
	RedisURL    string `json:"redis_url"`
	RabbitURL   string `json:"rabbitmq_url"` // the first of several is used
	Queue       string `json:"queue"`        // quorum, classic, transient
	Name        string `json:"name"`         // begins the name of every key and queue
	Concurrency int    `json:"concurrency"`  // nodes that the worker runs at once
}

// Validate tells everything that is wrong with c. Its errors never hold a URL,
// which may hold a password.
func (c *Config) Validate() error {
	var faults []error
	if _, err := redis.ParseURL(c.RedisURL); err != nil {
		faults = append(faults, errors.New("redis URL: the floor takes redis://[user:password@]host:port[/db] or rediss://; give the address of the primary for Sentinel"))
	}
	if _, err := amqp.ParseURI(c.broker()); err != nil {
		faults = append(faults, errors.New("rabbitmq URL: want amqp://user:password@host:port/vhost with special characters percent-encoded"))
	}
	switch c.Queue {
	case Quorum, Classic, Transient:
	default:
		faults = append(faults, fmt.Errorf("queue type %q: want %s, %s or %s", c.Queue, Quorum, Classic, Transient))
	}
	if c.Name == "" {
		faults = append(faults, errors.New("name: is empty"))
	}
	if c.Concurrency < 1 {
		faults = append(faults, fmt.Errorf("concurrency is %d: want at least 1", c.Concurrency))
	}
	if len(faults) > 0 {
		return fmt.Errorf("floor: %w", errors.Join(faults...))
	}
	return nil
}

// broker is the first of the brokers.
func (c *Config) broker() string {
	for _, next := range []string{",amqp://", ",amqps://"} {
		if i := strings.Index(c.RabbitURL, next); i >= 0 {
			return c.RabbitURL[:i]
		}
	}
	return c.RabbitURL
}

func (c *Config) queue() string  { return c.Name + ".nodes" }
func (c *Config) events() string { return c.Name + ":events" }
func (c *Config) states() string { return c.Name + ":states" }

// connectRedis opens a client for one role.
func (c *Config) connectRedis() (*redis.Client, error) {
	o, err := redis.ParseURL(c.RedisURL)
	if err != nil {
		return nil, errors.New("redis URL can't be read")
	}
	o.MaxRetries, o.PoolSize = -1, 2
	return redis.NewClient(o), nil
}

// connectRabbit opens a connection with one channel.
func (c *Config) connectRabbit() (*amqp.Connection, *amqp.Channel, error) {
	conn, err := amqp.Dial(c.broker())
	if err != nil {
		return nil, nil, fmt.Errorf("connect to rabbitmq: %w", err)
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open channel: %w", err), conn.Close())
	}
	return conn, ch, nil
}

// declare makes the queue.
func (c *Config) declare(ch *amqp.Channel) error {
	kind := amqp.QueueTypeClassic
	if c.Queue == Quorum {
		kind = amqp.QueueTypeQuorum
	}
	args := amqp.Table{amqp.QueueTypeArg: kind, amqp.QueueTTLArg: int32(60_000)}
	if _, err := ch.QueueDeclare(c.queue(), true, false, false, false, args); err != nil {
		return fmt.Errorf("declare queue: %w", err)
	}
	return nil
}

func (c *Config) deliveryMode() uint8 {
	if c.Queue == Transient {
		return amqp.Transient
	}
	return amqp.Persistent
}
