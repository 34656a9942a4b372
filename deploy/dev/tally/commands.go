package tally

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// Call is a kind of call: who makes it, and the script's verb, or the command's name
// and first argument.
type Call struct{ Client, Name, Key string }

// Commands is what Redis was asked.
type Commands struct {
	Calls map[Call]int
	// Inner are the commands that scripts make, by verb and command.
	Inner map[Inner]int
}

// Inner is a kind of command that a script makes.
type Inner struct{ Verb, Command string }

// Monitor watches a Redis. Its own connections are not counted.
type Monitor struct {
	address string
	verbs   map[string]string
	conn    net.Conn
	done    chan struct{}
	err     error // of the reader; read after done

	mu    sync.Mutex
	names map[string]string // of clients by address
	calls map[Call]int      // Client is an address
	inner map[Inner]int
	last  string // verb of the script that runs
	marks int
	seen  *sync.Cond // for marks
}

// WatchRedis begins to watch the Redis of a redis:// URL. verbs are the scripts'
// names by hash.
func WatchRedis(redis string, verbs map[string]string) (*Monitor, error) {
	u, err := url.Parse(redis)
	if err != nil {
		return nil, fmt.Errorf("watch redis: %w", err)
	}
	m := &Monitor{address: u.Host, verbs: verbs, done: make(chan struct{}), names: map[string]string{}}
	m.seen = sync.NewCond(&m.mu)
	m.reset()
	if m.conn, err = net.Dial("tcp", m.address); err != nil {
		return nil, fmt.Errorf("watch redis: %w", err)
	}
	r := bufio.NewReaderSize(m.conn, 1<<20)
	if _, err := io.WriteString(m.conn, "MONITOR\r\n"); err != nil {
		return nil, errors.Join(fmt.Errorf("watch redis: %w", err), m.conn.Close())
	}
	if line, err := r.ReadString('\n'); err != nil || strings.TrimSpace(line) != "+OK" {
		return nil, errors.Join(fmt.Errorf("watch redis: MONITOR answers %q, %w", line, err), m.conn.Close())
	}
	go m.read(r)
	return m, nil
}

func (m *Monitor) reset() {
	m.calls, m.inner = map[Call]int{}, map[Inner]int{}
}

// Close ends the watch.
func (m *Monitor) Close() error {
	err := m.conn.Close()
	<-m.done
	return err
}

// ours marks a place in the stream of commands.
const ours = "tally-mark"

func (m *Monitor) read(r *bufio.Reader) {
	defer close(m.done)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			m.err = err
			m.mu.Lock()
			m.marks = -1
			m.seen.Broadcast()
			m.mu.Unlock()
			return
		}
		client, words := parse(line)
		if len(words) == 0 {
			continue
		}
		m.mu.Lock()
		m.note(client, words)
		m.mu.Unlock()
	}
}

func (m *Monitor) note(client string, words []string) {
	name := strings.ToUpper(words[0])
	switch {
	case len(words) > 1 && words[0] == "ECHO" && words[1] == ours:
		m.marks++
		m.seen.Broadcast()
	case client == "lua":
		m.inner[Inner{m.last, name}]++
	case (name == "EVALSHA" || name == "EVAL") && len(words) > 1:
		m.last = m.verbs[words[1]]
		if m.last == "" {
			m.last = name + " of an unknown script"
		}
		m.calls[Call{client, m.last, ""}]++
	default:
		m.calls[Call{client, name, strings.Join(words[1:], "")}]++
	}
}

// parse takes a line of MONITOR apart: the client's address, or "lua", and the
// first words of the command.
func parse(line string) (client string, words []string) {
	_, rest, ok := strings.Cut(line, " [")
	if !ok {
		return "", nil
	}
	head, rest, ok := strings.Cut(rest, "] ")
	if !ok {
		return "", nil
	}
	_, client, _ = strings.Cut(head, " ")
	for len(words) < 2 && rest != "" {
		quoted, err := strconv.QuotedPrefix(strings.TrimLeft(rest, " "))
		if err != nil {
			break
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			break
		}
		words = append(words, word)
		rest = strings.TrimLeft(rest, " ")[len(quoted):]
	}
	return client, words
}

// Since returns what was asked since the last call of Since, or the beginning.
func (m *Monitor) Since() (Commands, error) {
	if err := m.sync(); err != nil {
		return Commands{}, fmt.Errorf("watch redis: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out := Commands{Calls: map[Call]int{}, Inner: m.inner}
	for c, n := range m.calls {
		if name, ok := m.names[c.Client]; ok {
			c.Client = name
		}
		out.Calls[c] += n
	}
	m.reset()
	return out, nil
}

// sync learns the clients' names and waits until everything asked so far was seen.
func (m *Monitor) sync() error {
	conn, err := net.Dial("tcp", m.address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	m.mu.Lock()
	m.names[conn.LocalAddr().String()] = "tally"
	before := m.marks
	m.mu.Unlock()
	r := bufio.NewReader(conn)
	if _, err := io.WriteString(conn, "CLIENT LIST\r\nECHO "+ours+"\r\n"); err != nil {
		return err
	}
	list, err := bulk(r)
	if err != nil {
		return err
	}
	if _, err := bulk(r); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for line := range strings.Lines(list) {
		var address, name string
		for field := range strings.FieldsSeq(line) {
			switch k, v, _ := strings.Cut(field, "="); k {
			case "addr":
				address = v
			case "name":
				name = v
			}
		}
		if name != "" {
			m.names[address] = name
		}
	}
	for m.marks == before {
		m.seen.Wait()
	}
	if m.marks < 0 {
		return fmt.Errorf("the connection ended: %w", m.err)
	}
	return nil
}

// bulk reads one bulk string.
func bulk(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(line, "$")))
	if err != nil || n < 0 {
		return "", fmt.Errorf("answer %q", line)
	}
	text := make([]byte, n+2)
	_, err = io.ReadFull(r, text)
	return string(text[:n]), err
}
