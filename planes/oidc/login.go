package oidc

import (
	"crypto/subtle"
	"html/template"
	"net/http"
	"slices"
	"time"
)

// loginPath is where users sign in.
const loginPath = "/login"

// page is where users sign in: one form, which works without scripts, by
// keyboard and by screen reader.
func page() *template.Template {
	return template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 22rem; margin: 4rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff }
label { display: block; margin-top: 1rem; font-weight: 600 }
input, button { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; border: 1px solid #595959; border-radius: 4px }
button { margin-top: 1.5rem; background: #174ea6; color: #fff; border-color: #174ea6; cursor: pointer }
:focus-visible { outline: 3px solid #174ea6; outline-offset: 2px }
[role=alert] { padding: .5rem; border-left: 4px solid #a50e0e; background: #fce8e6 }
</style>
</head>
<body>
<main>
<h1>Sign in</h1>
<p>to continue to <strong>{{.Client}}</strong></p>
{{with .Problem}}<p role="alert" id="problem">{{.}}</p>{{end}}
<form method="post" action="{{.Action}}">
<input type="hidden" name="request" value="{{.Request}}">
<label for="name">User name</label>
<input id="name" name="name" value="{{.Name}}" autocomplete="username" autocapitalize="none" required{{if not .Problem}} autofocus{{end}}{{if .Problem}} aria-describedby="problem"{{end}}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{{if .Problem}} autofocus aria-describedby="problem"{{end}}>
<button type="submit">Sign in</button>
</form>
</main>
</body>
</html>
`))
}

// shown is what the page says.
type shown struct{ Request, Client, Action, Name, Problem string }

// show writes the page.
func (s *storage) show(w http.ResponseWriter, status int, p shown) {
	p.Action = loginPath
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	w.WriteHeader(status)
	// The browser may be gone.
	_ = page().Execute(w, p)
}

// under finds the sign-in that a request is about, or answers that it is over.
func (s *storage) under(w http.ResponseWriter, id string) *request {
	s.mu.Lock()
	s.forget()
	r := s.requests[id]
	s.mu.Unlock()
	if r == nil {
		http.Error(w, "This sign-in has expired. Go back to the page that you wanted, and begin again.", http.StatusBadRequest)
	}
	return r
}

func (s *storage) loginPage(w http.ResponseWriter, r *http.Request) {
	if u := s.under(w, r.FormValue("request")); u != nil {
		s.show(w, http.StatusOK, shown{Request: u.id, Client: u.asked.ClientID})
	}
}

func (s *storage) login(w http.ResponseWriter, r *http.Request) {
	u := s.under(w, r.PostFormValue("request"))
	if u == nil {
		return
	}
	name := r.PostFormValue("name")
	again := shown{Request: u.id, Client: u.asked.ClientID, Name: name}
	who, ok := s.user(name)
	if subtle.ConstantTimeCompare([]byte(who.Password), []byte(r.PostFormValue("password"))) != 1 || !ok {
		again.Problem = "User name or password is wrong."
		s.show(w, http.StatusUnauthorized, again)
		return
	}
	if c, _ := s.client(u.asked.ClientID); len(c.Groups) > 0 && !slices.ContainsFunc(who.Groups, func(g string) bool { return slices.Contains(c.Groups, g) }) {
		again.Problem = "You may not sign in here: " + c.ID + " is for other groups."
		s.show(w, http.StatusForbidden, again)
		return
	}
	s.mu.Lock()
	signed := *u
	signed.subject, signed.at = who.Name, time.Now()
	s.requests[u.id] = &signed
	s.mu.Unlock()
	http.Redirect(w, r, s.signedIn(r.Context(), u.id), http.StatusSeeOther)
}
