package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/poolhouse/poolhouse/sandbox/account"
)

// encode puts an operation's output into the form of the service's protocol.
func encode(s *Service, op *Operation, requestID string, out any) (*Raw, error) {
	status := op.Status
	if status == 0 {
		status = http.StatusOK
	}
	if headed, ok := out.(Headed); ok {
		answer, err := encode(s, op, requestID, headed.Out)
		if err == nil {
			maps.Copy(answer.Header, headed.Header)
		}
		return answer, err
	}
	if raw, ok := out.(Raw); ok {
		out = &raw
	}
	if raw, ok := out.(*Raw); ok {
		answer := &Raw{Status: raw.Status, Header: raw.Header, Body: raw.Body, Content: raw.Content}
		if answer.Status == 0 {
			answer.Status = status
		}
		if answer.Header == nil {
			answer.Header = map[string][]string{}
		}
		return answer, nil
	}
	switch s.Protocol {
	case JSON10, JSON11, RestJSON:
		if out == nil {
			out = map[string]any{}
		}
		body, err := encodeJSON(out)
		if err != nil {
			return nil, err
		}
		return &Raw{Status: status, Header: contentType(s.Protocol.mediaType()), Body: body}, nil
	case RestXML:
		if out == nil {
			return &Raw{Status: status, Header: map[string][]string{}}, nil
		}
	}
	item := "member"
	if s.Protocol == EC2Query {
		item = "item"
	}
	var b strings.Builder
	if err := fields(&b, out, item); err != nil {
		return nil, err
	}
	inner := b.String()
	root := op.Name + "Response"
	if d, ok := out.(Document); ok {
		root = d.Root
	}
	switch s.Protocol {
	case RestXML:
		root = rootName(out, root)
	case EC2Query:
		inner = elements("requestId", requestID) + inner
	default:
		inner = "<" + op.Name + "Result>" + inner + "</" + op.Name + "Result><ResponseMetadata>" + elements("RequestId", requestID) + "</ResponseMetadata>"
	}
	return &Raw{Status: status, Header: contentType(s.Protocol.mediaType()), Body: document(root, s.Namespace, inner)}, nil
}

func (p Protocol) mediaType() string {
	switch p {
	case JSON10:
		return "application/x-amz-json-1.0"
	case JSON11:
		return "application/x-amz-json-1.1"
	case RestJSON:
		return "application/json"
	case RestXML:
		return "application/xml"
	}
	return "text/xml"
}

func contentType(t string) map[string][]string {
	return map[string][]string{"Content-Type": {t}}
}

func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(epochs(v)); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// epochs replaces times in JSON-like values by epoch seconds.
func epochs(v any) any {
	switch v := v.(type) {
	case time.Time:
		return Epoch(v)
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, x := range v {
			m[k] = epochs(x)
		}
		return m
	case []map[string]any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = epochs(x)
		}
		return l
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = epochs(x)
		}
		return l
	}
	return v
}

// rootName is the root element of an XML document: the struct's own XMLName,
// else the given name.
func rootName(out any, otherwise string) string {
	t := reflect.TypeOf(out)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return otherwise
	}
	if f, ok := t.FieldByName("XMLName"); ok {
		tag := f.Tag.Get("xml")
		if name := tag[strings.LastIndex(tag, " ")+1:]; name != "" {
			return name
		}
	}
	return otherwise
}

// fields writes what is inside the element of a struct or map.
func fields(b *strings.Builder, out any, item string) error {
	switch v := out.(type) {
	case nil:
		return nil
	case Document:
		return fields(b, v.Fields, item)
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if err := value(b, k, v[k], item); err != nil {
				return err
			}
		}
		return nil
	}
	// encoding/xml always writes the element around a value.
	var whole bytes.Buffer
	if err := xml.NewEncoder(&whole).EncodeElement(out, xml.StartElement{Name: xml.Name{Local: "x"}}); err != nil {
		return err
	}
	s := whole.Bytes()
	start, end := bytes.IndexByte(s, '>'), bytes.LastIndex(s, []byte("</x>"))
	if start < 0 || end < start {
		return fmt.Errorf("encode %T: not a structure", out)
	}
	b.Write(s[start+1 : end])
	return nil
}

// value writes one JSON-like value as an element.
func value(b *strings.Builder, name string, v any, item string) error {
	switch v := v.(type) {
	case nil:
		return nil
	case Flat:
		for _, x := range v {
			if err := value(b, name, x, item); err != nil {
				return err
			}
		}
		return nil
	case []string:
		return value(b, name, anys(v), item)
	case []map[string]any:
		return value(b, name, anys(v), item)
	}
	b.WriteString("<")
	b.WriteString(name)
	b.WriteString(">")
	switch v := v.(type) {
	case string:
		escape(b, v)
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int:
		b.WriteString(strconv.Itoa(v))
	case float64:
		b.WriteString(strconv.FormatFloat(v, 'f', -1, 64))
	case time.Time:
		b.WriteString(ISO(v))
	case []any:
		for _, x := range v {
			if err := value(b, item, x, item); err != nil {
				return err
			}
		}
	default:
		if err := fields(b, v, item); err != nil {
			return err
		}
	}
	b.WriteString("</")
	b.WriteString(name)
	b.WriteString(">")
	return nil
}

func anys[T any](l []T) []any {
	out := make([]any, len(l))
	for i, x := range l {
		out[i] = x
	}
	return out
}

// encodeError puts a refusal into the form of the service's protocol.
func encodeError(s *Service, r *http.Request, requestID string, refusal *account.Error) *Raw {
	status := refusal.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	answer := &Raw{Status: status, Header: contentType(s.Protocol.mediaType())}
	kind := "Sender"
	if status >= 500 {
		kind = "Receiver"
	}
	switch {
	case r.Header.Get("Smithy-Protocol") == "rpc-v2-cbor":
		// The protocol isn't modelled, but its clients shall read that.
		answer.Header = map[string][]string{"Content-Type": {"application/cbor"}, "Smithy-Protocol": {"rpc-v2-cbor"}}
		answer.Body = []byte{0xa2} // a map of two
		for _, t := range []string{"__type", refusal.Code, "message", refusal.Message} {
			answer.Body = append(answer.Body, 0x7a) // a text whose length is four bytes
			answer.Body = append(binary.BigEndian.AppendUint32(answer.Body, uint32(len(t))), t...)
		}
	case s.Protocol == JSON10 || s.Protocol == JSON11:
		answer.Body, _ = encodeJSON(map[string]any{"__type": refusal.Code, "message": refusal.Message})
	case s.Protocol == RestJSON:
		answer.Header["X-Amzn-Errortype"] = []string{refusal.Code}
		answer.Body, _ = encodeJSON(map[string]any{"message": refusal.Message})
	case s.Name == "s3":
		// A HEAD request has no body to carry the code; SDKs go by the status.
		if r.Method != http.MethodHead {
			answer.Body = document("Error", "", elements("Code", refusal.Code, "Message", refusal.Message, "Resource", r.URL.Path, "RequestId", requestID))
		}
	case s.Protocol == EC2Query:
		inner := elements("Code", refusal.Code, "Message", refusal.Message)
		answer.Body = document("Response", "", "<Errors><Error>"+inner+"</Error></Errors>"+elements("RequestID", requestID))
	default:
		inner := elements("Type", kind, "Code", refusal.Code, "Message", refusal.Message)
		answer.Body = document("ErrorResponse", s.Namespace, "<Error>"+inner+"</Error>"+elements("RequestId", requestID))
	}
	return answer
}

func document(root, namespace, inner string) []byte {
	var b strings.Builder
	b.Grow(len(xml.Header) + len(inner) + 2*len(root) + len(namespace) + 16)
	b.WriteString(xml.Header)
	b.WriteString("<")
	b.WriteString(root)
	if namespace != "" {
		b.WriteString(` xmlns="`)
		escape(&b, namespace)
		b.WriteString(`"`)
	}
	b.WriteString(">")
	b.WriteString(inner)
	b.WriteString("</")
	b.WriteString(root)
	b.WriteString(">")
	return []byte(b.String())
}

// elements writes names and texts in turn.
func elements(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		b.WriteString("<" + pairs[i] + ">")
		escape(&b, pairs[i+1])
		b.WriteString("</" + pairs[i] + ">")
	}
	return b.String()
}

// escape writes a text as encoding/xml does; most have nothing to escape.
func escape(b *strings.Builder, s string) {
	if plain(s) {
		b.WriteString(s)
		return
	}
	// Writing to a builder can't fail.
	_ = xml.EscapeText(b, []byte(s))
}

// plain tells that a text is the same in XML.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c >= utf8.RuneSelf, c == '"', c == '\'', c == '&', c == '<', c == '>':
			return false
		}
	}
	return true
}
