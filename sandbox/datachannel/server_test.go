package datachannel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/poolhouse/poolhouse/internal/testkit"
	"github.com/poolhouse/poolhouse/sandbox"
	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/ssm"
)

// client speaks the protocol as the plugin does.
type client struct {
	t        *testing.T
	ws       *websocket.Conn
	sent     int64
	received int64
}

func (c *client) send(typ uint32, payload []byte) {
	c.t.Helper()
	m := message{kind: inputStream, sequence: c.sent, id: newID(), typ: typ, payload: payload}
	if err := frames().Send(c.ws, m.marshal(time.Now())); err != nil {
		c.t.Fatal(err)
	}
	c.sent++
}

// next is the next message that is no acknowledgement.
func (c *client) next() message {
	c.t.Helper()
	for {
		var f frame
		if err := frames().Receive(c.ws, &f); err != nil {
			c.t.Fatal(err)
		}
		m, err := unmarshal(f.data)
		if err != nil {
			c.t.Fatal(err)
		}
		if m.kind == acknowledge {
			continue
		}
		if m.kind == outputStream {
			if m.sequence != c.received {
				c.t.Errorf("message %d comes as %d", c.received, m.sequence)
			}
			c.received++
		}
		return m
	}
}

// open opens the channel of a session and shows a token.
func open(t *testing.T, s *Server, session, token string) *client {
	t.Helper()
	ws, err := websocket.Dial(s.Stream(session, ""), "", "http://localhost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	first, err := json.Marshal(map[string]string{"MessageSchemaVersion": "1.0", "TokenValue": token})
	if err != nil {
		t.Fatal(err)
	}
	if err := websocket.Message.Send(ws, string(first)); err != nil {
		t.Fatal(err)
	}
	return &client{t: t, ws: ws}
}

// serving is a server with one session, whose host echoes.
func serving(t *testing.T) *Server {
	t.Helper()
	box := testkit.Sandbox(t, sandbox.Options{})
	err := box.Account().Do(func(tx *account.Tx) error {
		tx.Put(&account.Resource{
			Type: ssm.TypeSession, ID: "s-1", Props: map[string]any{"Target": "i-1"},
			Data: map[string]any{"token": "right", "host": "api.example.com", "port": "443", "localPort": "0"},
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(t.Context(), func(_ context.Context, instance, address string) (net.Conn, error) {
		if instance != "i-1" || address != "api.example.com:443" {
			return nil, errors.New("not there")
		}
		mine, theirs := net.Pipe()
		go func() {
			b := make([]byte, 4096)
			for {
				n, err := theirs.Read(b)
				if err != nil {
					return
				}
				if _, err := theirs.Write(bytes.ToUpper(b[:n])); err != nil {
					return
				}
			}
		}()
		return mine, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Attach(box.Account())
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestChannel(t *testing.T) {
	t.Parallel()
	s := serving(t)
	held, released := make(chan bool, 1), make(chan bool, 1)
	s.Hold(func() func() {
		held <- true
		return func() { released <- true }
	})
	c := open(t, s, "s-1", "right")
	m := c.next()
	// As long as the channel is open, and no longer.
	<-held
	defer func() { <-released }()
	if m.typ != payloadHandshakeRequest || !strings.Contains(string(m.payload), `"type":"LocalPortForwarding"`) || !strings.Contains(string(m.payload), ssm.AgentVersion) {
		t.Fatalf("the handshake begins with %d %s", m.typ, m.payload)
	}
	c.send(payloadHandshakeResponse, []byte(`{"ClientVersion":"1.2.0.0","ProcessedClientActions":[{"ActionType":"SessionType","ActionStatus":1}],"Errors":null}`))
	if m := c.next(); m.typ != payloadHandshakeComplete {
		t.Fatalf("the handshake ends with %d", m.typ)
	}
	if len(released) > 0 {
		t.Error("the open channel has been let go")
	}
	for _, text := range []string{"hello", strings.Repeat("x", 1500)} {
		c.send(payloadData, []byte(text))
		var got []byte
		for len(got) < len(text) {
			got = append(got, c.next().payload...)
		}
		if string(got) != strings.ToUpper(text) {
			t.Errorf("got %.20q, want %.20q", got, strings.ToUpper(text))
		}
		// A client that goes, and another one that comes.
		c.send(payloadFlag, []byte{0, 0, 0, flagDisconnect})
	}
	// What is sent again is not forwarded again.
	c.sent--
	c.send(payloadData, []byte("again"))
	c.send(payloadFlag, []byte{0, 0, 0, flagTerminate})
	if m := c.next(); m.kind != closed {
		t.Errorf("after the end comes %s %s", m.kind, m.payload)
	}
	if _, err := c.ws.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the channel is still open: %v", err)
	}
}

func TestChannelRefusals(t *testing.T) {
	t.Parallel()
	s := serving(t)
	for name, at := range map[string][2]string{"wrong token": {"s-1", "wrong"}, "no session": {"s-2", "right"}, "no token": {"s-1", ""}} {
		if m := open(t, s, at[0], at[1]).next(); m.kind != closed || !strings.Contains(string(m.payload), "token is not valid") {
			t.Errorf("%s: got %s %s", name, m.kind, m.payload)
		}
	}
	for name, raw := range map[string][]byte{
		"short": make([]byte, 10), "other header": make([]byte, 200),
		"other digest": append(message{kind: inputStream, id: newID(), typ: payloadData}.marshal(time.Now()), "more"...),
	} {
		c := open(t, s, "s-1", "right")
		c.next()
		if err := frames().Send(c.ws, raw); err != nil {
			t.Fatal(err)
		}
		if m := c.next(); m.kind != closed {
			t.Errorf("%s: got %s %s", name, m.kind, m.payload)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(message{kind: inputStream, sequence: 7, flags: 3, id: newID(), typ: payloadData, payload: []byte("hello")}.marshal(time.Now()))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := unmarshal(b)
		if err != nil {
			return
		}
		again, err := unmarshal(m.marshal(time.Now()))
		if err != nil || again.sequence != m.sequence || again.id != m.id || again.kind != m.kind || !bytes.Equal(again.payload, m.payload) {
			t.Errorf("%+v comes back as %+v, %v", m, again, err)
		}
	})
}
