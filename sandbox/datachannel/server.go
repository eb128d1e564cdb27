// Package datachannel is the data channel of Session Manager: a WebSocket over
// which a client, AWS's own session-manager-plugin, has a port forwarded as an
// agent does. The service between the two is left out.
//
// Invariants: a channel opens only with the token of a session that goes on, and
// leads only where its session says.
//
// Limits: forwarding to a remote host, one connection at a time, without KMS
// encryption, which is what agents of the version that the sandbox announces do.
// Nothing is sent again, since a WebSocket loses nothing; a channel that breaks
// is not resumed.
package datachannel

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/props"
	"github.com/poolhouse/poolhouse/sandbox/ssm"
)

// path is where channels are; the session's id follows.
const path = "/v1/data-channel/"

// Dialer opens a connection from an instance to an address, host:port.
type Dialer func(ctx context.Context, instance, address string) (net.Conn, error)

// Server serves the channels of one account on a loopback port. It is safe for
// concurrent use.
type Server struct {
	dial     Dialer
	http     *http.Server
	listener net.Listener

	mu      sync.Mutex
	account *account.Account
	hold    func() (release func())
}

// Hold has f called when a channel opens, and what it returns when the channel
// is over: what goes through it is real, whatever the account's clock is.
func (s *Server) Hold(f func() (release func())) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = f
}

// New starts a server. Its Stream goes into the sandbox's options, and the
// account that comes of it to Attach.
func New(ctx context.Context, dial Dialer) (*Server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for data channels: %w", err)
	}
	s := &Server{dial: dial, listener: l}
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		// It ends with Close, which has no error to tell.
		_ = s.http.Serve(l)
	}()
	return s, nil
}

// Attach says whose sessions are served.
func (s *Server) Attach(a *account.Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account = a
}

// Stream is the sandbox's SessionStream.
func (s *Server) Stream(session, _ string) string {
	return "ws://" + s.listener.Addr().String() + path + session
}

// Close ends the server. Channels end with their clients.
func (s *Server) Close() error { return s.http.Close() }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	id, ok := strings.CutPrefix(r.URL.Path, path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		defer hold()()
	}
	// No Handshake: programs send no Origin.
	websocket.Server{Handler: func(ws *websocket.Conn) {
		c := &channel{ws: ws, dial: s.dial}
		// The client has heard why, as far as there is something to hear.
		_ = c.run(r.Context(), s.session(id))
		c.disconnect()
		_ = ws.Close()
	}}.ServeHTTP(w, r)
}

// session is what a channel may know of a session; nil if there is none.
func (s *Server) session(id string) *session {
	s.mu.Lock()
	a := s.account
	s.mu.Unlock()
	var found *session
	if a == nil {
		return nil
	}
	err := a.Do(func(tx *account.Tx) error {
		if r := tx.Get(ssm.TypeSession, id); r != nil {
			found = &session{
				id: id, token: props.Str(r.Data, "token"), instance: props.Str(r.Props, "Target"),
				host: props.Str(r.Data, "host"), port: props.Str(r.Data, "port"), localPort: props.Str(r.Data, "localPort"),
			}
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return found
}

type session struct{ id, token, instance, host, port, localPort string }

// channel is one client's.
type channel struct {
	ws   *websocket.Conn
	dial Dialer

	mu       sync.Mutex // serialises what is sent, and guards what follows
	sequence int64
	conn     net.Conn
}

// frame is what comes over the WebSocket.
type frame struct {
	data []byte
	text bool
}

// frames hands frames through as they are.
func frames() websocket.Codec {
	return websocket.Codec{
		Marshal: func(v any) ([]byte, byte, error) {
			b, ok := v.([]byte)
			if !ok {
				return nil, 0, fmt.Errorf("a %T is no frame", v)
			}
			return b, websocket.BinaryFrame, nil
		},
		Unmarshal: func(b []byte, kind byte, v any) error {
			f, ok := v.(*frame)
			if !ok {
				return fmt.Errorf("a %T takes no frame", v)
			}
			f.data, f.text = b, kind == websocket.TextFrame
			return nil
		},
	}
}

// send sends a message of the output stream.
func (c *channel) send(typ uint32, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := message{kind: outputStream, sequence: c.sequence, id: newID(), typ: typ, payload: payload}
	if err := frames().Send(c.ws, m.marshal(time.Now())); err != nil {
		return err
	}
	c.sequence++
	return nil
}

// run is the channel's life: its token, the handshake, then data both ways.
func (c *channel) run(ctx context.Context, s *session) error {
	var f frame
	if err := frames().Receive(c.ws, &f); err != nil {
		return err
	}
	var open struct{ TokenValue string }
	if err := json.Unmarshal(f.data, &open); err != nil || !f.text || s == nil || open.TokenValue != s.token {
		return c.end("the token is not valid")
	}
	request, err := json.Marshal(map[string]any{
		"AgentVersion": ssm.AgentVersion,
		"RequestedClientActions": []any{map[string]any{"ActionType": "SessionType", "ActionParameters": map[string]any{
			"SessionType": "Port",
			"Properties":  map[string]any{"host": s.host, "portNumber": s.port, "localPortNumber": s.localPort, "type": "LocalPortForwarding"},
		}}},
	})
	if err != nil {
		return err
	}
	if err := c.send(payloadHandshakeRequest, request); err != nil {
		return err
	}
	for expected := int64(0); ; {
		if err := frames().Receive(c.ws, &f); err != nil {
			return err
		}
		m, err := unmarshal(f.data)
		if err != nil {
			return c.end(err.Error())
		}
		if m.kind != inputStream {
			continue // acknowledgements
		}
		ack, err := acknowledgement(m)
		if err != nil {
			return err
		}
		c.mu.Lock()
		err = frames().Send(c.ws, ack.marshal(time.Now()))
		c.mu.Unlock()
		if err != nil {
			return err
		}
		if m.sequence != expected {
			continue // sent again
		}
		expected++
		if over, err := c.take(ctx, s, m); over || err != nil {
			return err
		}
	}
}

// take is what a message of the client does.
func (c *channel) take(ctx context.Context, s *session, m message) (over bool, err error) {
	switch m.typ {
	case payloadHandshakeResponse:
		var response struct{ Errors []string }
		if err := json.Unmarshal(m.payload, &response); err != nil || len(response.Errors) > 0 {
			return true, c.end("the handshake failed: " + strings.Join(response.Errors, ", "))
		}
		return false, c.send(payloadHandshakeComplete, []byte(`{"HandshakeTimeToComplete":1,"CustomerMessage":""}`))
	case payloadFlag:
		if len(m.payload) != 4 {
			return true, c.end("a flag has no value")
		}
		switch binary.BigEndian.Uint32(m.payload) {
		case flagDisconnect:
			c.disconnect()
		case flagTerminate:
			return true, c.end("")
		}
	case payloadData:
		conn, err := c.connect(ctx, s)
		if err != nil {
			return false, c.send(payloadFlag, binary.BigEndian.AppendUint32(nil, flagNoConnect))
		}
		if _, err := conn.Write(m.payload); err != nil {
			c.disconnect()
		}
	}
	return false, nil
}

// connect is the connection to the host, made when the client first has
// something for it.
func (c *channel) connect(ctx context.Context, s *session) (net.Conn, error) {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	conn, err := c.dial(ctx, s.instance, net.JoinHostPort(s.host, s.port))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	go func() {
		const size = 1024 // the plugin's own
		b := make([]byte, size)
		for {
			n, err := conn.Read(b)
			if n > 0 {
				err = errors.Join(err, c.send(payloadData, append([]byte(nil), b[:n]...)))
			}
			if err != nil {
				_ = conn.Close()
				return
			}
		}
	}()
	return conn, nil
}

// disconnect ends the connection to the host, if there is one.
func (c *channel) disconnect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// end tells the client that the channel is closed, and why.
func (c *channel) end(why string) error {
	payload, err := json.Marshal(map[string]any{"MessageType": closed, "SchemaVersion": 1, "Output": why})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return frames().Send(c.ws, message{kind: closed, id: newID(), payload: payload}.marshal(time.Now()))
}
