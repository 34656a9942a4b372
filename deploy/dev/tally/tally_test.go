package tally

import (
	"bufio"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for line, want := range map[string][]string{
		`+1700000000.123456 [0 127.0.0.1:5000] "evalsha" "0a1b" "1" "station" "a\"b\x00"`: {"127.0.0.1:5000", "evalsha", "0a1b"},
		`+1700000000.123456 [0 lua] "HSET" "station:x]y" "f" "v"`:                         {"lua", "HSET", "station:x]y"},
		`+1700000000.1 [0 unix:/run/redis.sock] "GET" "\n\"\\"`:                           {"unix:/run/redis.sock", "GET", "\n\"\\"},
		`+1700000000.123456 [3 [::1]:5000] "PING"`:                                        {"[::1]:5000", "PING"},
		"+OK":      {""},
		"":         {""},
		"+1 [0 x]": {""},
	} {
		client, words := parse(line)
		if got := append([]string{client}, words...); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// fakeRedis answers MONITOR with the lines given, and CLIENT LIST and ECHO after them.
func fakeRedis(t *testing.T, lines ...string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	monitors := make(chan net.Conn, 1)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				r := bufio.NewReader(conn)
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						_ = conn.Close()
						return
					}
					switch strings.TrimSpace(line) {
					case "MONITOR":
						_, _ = io.WriteString(conn, "+OK\r\n"+strings.Join(lines, "\r\n")+"\r\n")
						monitors <- conn
					case "CLIENT LIST":
						_, _ = io.WriteString(conn, "$32\r\nid=1 addr=10.0.0.1:1 name=worker\r\n")
					case "ECHO " + ours:
						m := <-monitors
						_, _ = io.WriteString(m, "+1.0 [0 "+conn.RemoteAddr().String()+"] \"ECHO\" \""+ours+"\"\r\n")
						monitors <- m
						_, _ = io.WriteString(conn, "$10\r\n"+ours+"\r\n")
					}
				}
			}()
		}
	}()
	return "redis://" + ln.Addr().String() + "/0"
}

func TestMonitorCounts(t *testing.T) {
	m, err := WatchRedis(fakeRedis(t,
		`+1.1 [0 10.0.0.1:1] "evalsha" "aa" "1" "p"`, `+1.1 [0 lua] "HSET" "k"`, `+1.1 [0 lua] "HSET" "k"`,
		`+1.2 [0 10.0.0.1:1] "evalsha" "bb" "1" "p"`, `+1.2 [0 lua] "TIME"`, `+1.3 [0 10.0.0.2:1] "get" "k"`), map[string]string{"aa": "claim"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Since()
	if err != nil {
		t.Fatal(err)
	}
	want := Commands{
		Calls: map[Call]int{{"worker", "claim", ""}: 1, {"worker", "EVALSHA of an unknown script", ""}: 1, {"10.0.0.2:1", "GET", "k"}: 1},
		Inner: map[Inner]int{{"claim", "HSET"}: 2, {"EVALSHA of an unknown script", "TIME"}: 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
	if again, err := m.Since(); err != nil || len(again.Calls) != 0 {
		t.Errorf("then %v, %v", again, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func frame(kind byte, payload ...byte) []byte {
	out := binary.BigEndian.AppendUint32([]byte{kind, 0, 1}, uint32(len(payload)))
	return append(append(out, payload...), 0xCE)
}

func TestFramesAreCounted(t *testing.T) {
	broker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = broker.Close() }()
	f, err := RelayFrames("amqp://u:p@" + broker.Addr().String() + "/v")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(f.URL, "amqp://u:p@127.0.0.1:") || !strings.HasSuffix(f.URL, "/v") {
		t.Errorf("URL is %s", f.URL)
	}
	client, err := net.Dial("tcp", f.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := broker.Accept()
	if err != nil {
		t.Fatal(err)
	}
	var sent []byte
	for _, b := range [][]byte{[]byte("AMQP\x00\x00\x09\x01"), frame(1, 0, 60, 0, 40, 1, 2), frame(2, make([]byte, 30)...), frame(3, make([]byte, 70_000)...), frame(1, 0, 20, 0, 10), frame(8)} {
		sent = append(sent, b...)
	}
	go func() { _, _ = client.Write(sent) }()
	passed := make([]byte, len(sent))
	if _, err := io.ReadFull(server, passed); err != nil || !reflect.DeepEqual(passed, sent) {
		t.Errorf("the relay changes what it passes on: %v", err)
	}
	answer := append(frame(1, 0, 60, 0, 80, 0), frame(9)...) // and one that is none
	if _, err := server.Write(answer); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, client); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err == nil || !strings.Contains(err.Error(), "type 9") {
		t.Errorf("a frame that is none is told as %v", err)
	}
	want := map[Frame]int{{1, true, "basic.publish"}: 1, {1, true, "header"}: 1, {1, true, "body"}: 1, {1, true, "method 20.10"}: 1, {1, true, "heartbeat"}: 1, {1, false, "basic.ack"}: 1}
	if got := f.Count(); !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}
