package recorder

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// patience bounds the wait for one answer.
const patience = 5 * time.Second

// Client sends lines to a recorder. It is safe for concurrent use.
type Client struct {
	socket string
	idle   chan net.Conn
}

// NewClient returns a client of the recorder at a unix socket.
func NewClient(socket string) *Client {
	return &Client{socket: socket, idle: make(chan net.Conn, 64)}
}

// Record returns nil when the line is on disk. After an error it may be, or not.
func (c *Client) Record(ctx context.Context, l Line) error {
	conn, err := c.connection(ctx)
	if err != nil {
		return fmt.Errorf("recorder: %w", err)
	}
	if err := ask(conn, l); err != nil {
		return errors.Join(fmt.Errorf("recorder: %w", err), conn.Close())
	}
	select {
	case c.idle <- conn:
		return nil
	default:
		return conn.Close()
	}
}

func ask(conn net.Conn, l Line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write(append(text, '\n')); err != nil {
		return err
	}
	reply, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
	if err != nil {
		return err
	}
	if reply != "ok\n" {
		return fmt.Errorf("answer %q", reply)
	}
	return nil
}

func (c *Client) connection(ctx context.Context) (net.Conn, error) {
	select {
	case conn := <-c.idle:
		return conn, nil
	default:
	}
	d := net.Dialer{Timeout: patience}
	return d.DialContext(ctx, "unix", c.socket)
}

// Close gives up idle connections.
func (c *Client) Close() error {
	var faults []error
	for {
		select {
		case conn := <-c.idle:
			faults = append(faults, conn.Close())
		default:
			return errors.Join(faults...)
		}
	}
}
