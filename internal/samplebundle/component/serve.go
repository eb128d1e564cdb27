package component

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// collect writes what is sent to the bucket of telemetry, an object for each request, and
// answers when it is there. JSON is taken, protocol buffers are not.
// https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
func (c *component) collect(w http.ResponseWriter, r *http.Request, signal string) {
	v, err := c.need("TELEMETRY_BUCKET")
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	body, ok := taken(w, r)
	if !ok {
		return
	}
	now := c.Now().UTC()
	key := fmt.Sprintf("otlp/%s/%s/%s-%s.json", signal, now.Format("2006/01/02"), now.Format("150405.000"), rand.Text()[:12])
	_, err = c.s3().PutObject(r.Context(), &s3.PutObjectInput{Bucket: &v[0], Key: &key, Body: bytes.NewReader(body), ContentType: aws.String("application/json")})
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, fmt.Sprintf("write to %s: %v", v[0], short(err)))
		return
	}
	answer(w, http.StatusOK, map[string]any{})
}

// taken is the body of a request, which has to be JSON.
func taken(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	body, err := io.ReadAll(r.Body)
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the request has more than %d bytes", long.Limit))
	case err != nil:
		refuse(w, http.StatusBadRequest, "the request can't be read")
	case !json.Valid(body):
		refuse(w, http.StatusBadRequest, "the request is no JSON")
	default:
		return body, true
	}
	return nil, false
}

// sample is the name of the model that is none.
const sample = "sample"

// models lists one model.
// https://platform.openai.com/docs/api-reference/models/list
func (c *component) models(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"object": "list", "data": []any{
		map[string]any{"id": sample, "object": "model", "created": 0, "owned_by": "poolhouse"},
	}})
}

// complete answers a chat with the name of the sample and what it was asked.
// https://platform.openai.com/docs/api-reference/chat/create
func (c *component) complete(w http.ResponseWriter, r *http.Request) {
	body, ok := taken(w, r)
	if !ok {
		return
	}
	var chat struct {
		Messages []struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
		Stream bool `json:"stream"`
	}
	if err := json.Unmarshal(body, &chat); err != nil || len(chat.Messages) == 0 {
		refuse(w, http.StatusBadRequest, "messages is a list with one message at least")
		return
	}
	if chat.Stream {
		refuse(w, http.StatusBadRequest, "the sample does not stream")
		return
	}
	said := "sample: no model answers here"
	var last string
	if json.Unmarshal(chat.Messages[len(chat.Messages)-1].Content, &last) == nil {
		said = "sample: " + last
	}
	answer(w, http.StatusOK, map[string]any{
		"id": "chatcmpl-" + rand.Text(), "object": "chat.completion", "created": c.Now().Unix(), "model": sample,
		"choices": []any{map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": said}}},
		"usage":   map[string]any{"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
	})
}
