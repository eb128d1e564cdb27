package signon

import (
	"context"
	"io"
	"net/http"
	"strings"
)

// mostAnswer is how much of a provider's answer is read: more than claims may
// have, so that too many are noticed.
const mostAnswer = 1 << 20

// request is one to the provider, with the time that it may take.
func (f *flow) request(ctx context.Context, method, to, body string) (*http.Request, context.CancelFunc, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	r, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(body))
	if err != nil {
		cancel()
		return nil, nil, &failure{http.StatusInternalServerError, "AuthUnhandledException"}
	}
	r.Header.Set("Accept", "application/json")
	return r, cancel, nil
}

// call returns status and body of an answer.
func (f *flow) call(r *http.Request) (int, []byte, error) {
	resp, err := f.opts.Client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	return resp.StatusCode, body, err
}
