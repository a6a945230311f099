"""Small tools that know nothing of us: files, processes, HTTP/1.1, the fork server."""
