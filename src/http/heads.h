// What a request's head says and what an answer's says, apart from how they travel. Internal to http/. Pure functions.
#pragma once
#include <optional>
#include <string>

#include "http/request_parser.h"

namespace mr::http {

struct Refusal {
  int status;
  std::string_view why;
};
// Fills the request from the parsed head; a refusal for one that no handler may see. `wants_continue` is set when the
// client waits for 100 Continue before it sends its body.
std::optional<Refusal> read_head_of(const Parser& p, std::size_t target_limit, Request& req, bool& wants_continue);

// Packs a text body that is worth it, for a client that takes gzip.
void compress_answer(const Request& req, Response& res);
// Appends status line and headers, all but Connection and the empty line. True: the body is to be sent chunked; `keep`
// is cleared when only the connection's end can mark the body's.
bool append_head_of(std::string& out, const Request& req, const Response& res, bool http10, bool& keep);

}  // namespace mr::http
