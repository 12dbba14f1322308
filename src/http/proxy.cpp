#include "http/proxy.h"

#include "log/log.h"
#include "text/text.h"

namespace mr::http {

namespace {

// Headers that are about one connection (RFC 9110, section 7.6.1), and those that each side writes itself.
bool of_one_hop(std::string_view name) {
  for (auto n : {"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "TE",
                 "Trailer", "Transfer-Encoding", "Upgrade"})
    if (text::iequals(name, n)) return true;
  return false;
}

Response failure(int status, std::string_view why) { return Response::text(status, std::string(why), "text/plain"); }

Response failure_of(const Error& e) {
  if (e.reason == "timeout") return failure(504, "upstream request timeout");
  if (e.code == Code::cancelled || e.reason.empty()) return failure(400, "the request's body broke off");
  return failure(e.reason == "protocol error" ? 502 : 503,
                 fmt::format("upstream connect error or disconnect/reset before headers. reset reason: {}", e.reason));
}

}  // namespace

Response no_upstream() { return failure(503, "no healthy upstream"); }

task::Task<Response> proxy(AsyncClient& client, Request& rq, Endpoint endpoint, ProxyOptions o) {
  AsyncRequest out;
  out.method = rq.method_text;
  out.target = o.target.empty() ? std::string(rq.target) : std::move(o.target);
  out.timeout_ms = o.timeout_ms;
  out.connect_timeout_ms = o.connect_timeout_ms;
  auto connection = rq.headers.get("Connection");
  auto upgrade = rq.headers.get("Upgrade");
  bool upgrading = !upgrade.empty() && text::icontains_token(connection, "upgrade");
  std::string forwarded_for(rq.headers.get("X-Forwarded-For"));
  for (const auto& [n, v] : rq.headers.items()) {
    if (of_one_hop(n) || text::icontains_token(connection, n) || text::iequals(n, "Expect") ||
        text::iequals(n, "Content-Length") || text::iequals(n, "X-Request-Id") ||
        text::lower(n).starts_with("x-forwarded-"))
      continue;
    if (text::iequals(n, "Host") && !o.host.empty()) continue;
    bool removed = std::ranges::any_of(o.removed, [&](const auto& r) { return text::iequals(r, n); });
    if (!removed) out.headers.add(std::string(n), std::string(v));
  }
  if (!o.host.empty()) out.headers.set("Host", o.host);
  out.headers.add("X-Forwarded-For",
                  forwarded_for.empty() ? std::string(rq.remote) : fmt::format("{}, {}", forwarded_for, rq.remote));
  out.headers.add("X-Forwarded-Proto", rq.secure ? "https" : "http");
  out.headers.add("X-Forwarded-Host", std::string(rq.headers.get("Host")));
  out.headers.add("X-Request-Id", rq.id);
  if (upgrading) {
    out.headers.add("Connection", "Upgrade");
    out.headers.add("Upgrade", std::string(upgrade));
  }
  for (const auto& [n, v] : o.set_headers.items()) out.headers.set(n, v);
  auto declared = rq.body != nullptr ? rq.body->length() : std::nullopt;
  if (rq.headers.has("Transfer-Encoding") || declared.value_or(0) > 0) {
    out.body = rq.body;
    out.sized = declared.has_value();
  }

  auto answer = co_await client.send(std::move(endpoint), std::move(out));
  if (!answer) {
    log::debug("a proxied request failed", {{"request_id", rq.id},
                                            {"reason", answer.error().reason},
                                            {"detail", answer.error().detail},
                                            {"path", rq.path}});
    co_return failure_of(answer.error());
  }
  Response res;
  res.status = answer->status;
  auto hop = answer->headers.get("Connection");
  for (const auto& [n, v] : answer->headers.items()) {
    bool ours = answer->upgraded && (text::iequals(n, "Upgrade") || text::iequals(n, "Connection"));
    if (!ours && (of_one_hop(n) || text::icontains_token(hop, n) || text::iequals(n, "X-Request-Id"))) continue;
    res.headers.add(n, v);
  }
  if (answer->upgraded) {
    res.upgrade = [up = std::move(answer->upgraded)](ByteStream& io) mutable -> task::Task<void> {
      co_await pump(io, *up);
    };
    co_return res;
  }
  res.body = StreamBody([body = std::move(answer->body)]() -> task::Task<Result<std::string>> {
    auto piece = co_await body->read();
    if (!piece) co_return std::unexpected(piece.error());
    co_return std::string(*piece);
  });
  co_return res;
}

}  // namespace mr::http
