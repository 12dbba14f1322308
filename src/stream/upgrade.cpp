#include "stream/upgrade.h"

#include "json/writer.h"
#include "text/text.h"

namespace mr::stream {

http::Response status_response(int code, std::string_view reason, std::string_view message) {
  std::string body;
  json::Writer w(body);
  w.begin_object();
  w.field("kind", "Status");
  w.field("apiVersion", "v1");
  w.key("metadata");
  w.begin_object();
  w.end_object();
  w.field("status", "Failure");
  w.field("message", message);
  w.field("reason", reason);
  w.field("code", code);
  w.end_object();
  return http::Response::json(code, std::move(body));
}

bool wants_spdy(const http::Request& rq) {
  return text::icontains_token(rq.headers.get("Connection"), "upgrade") &&
         text::icontains_token(rq.headers.get("Upgrade"), "SPDY/3.1");
}

std::vector<std::string> header_list(const http::Request& rq, std::string_view name) {
  std::vector<std::string> out;
  for (const auto& [n, v] : rq.headers.items()) {
    if (!text::iequals(n, name)) continue;
    for (auto item : text::split(v, ',')) {
      item = text::trim(item);
      if (!item.empty() && out.size() < 32) out.emplace_back(item);
    }
  }
  return out;
}

http::Response accept_spdy(const http::Request& rq, std::initializer_list<std::string_view> versions,
                           http::UpgradeHandler handler) {
  auto offered = header_list(rq, "X-Stream-Protocol-Version");
  std::string chosen;
  for (auto v : versions)
    if (chosen.empty() && std::ranges::find(offered, v) != offered.end()) chosen = v;
  // As the real server: a client that names no version is taken to speak the oldest one of the first kind.
  if (chosen.empty() && offered.empty() && versions.size() == 1) chosen = *versions.begin();
  if (chosen.empty())
    return status_response(403, "Forbidden",
                           fmt::format("unable to upgrade: unable to negotiate protocol: client supports [{}], server "
                                       "accepts [{}]",
                                       fmt::join(offered, " "), fmt::join(versions.begin(), versions.end(), " ")));
  http::Response r;
  r.status = 101;
  r.headers.add("Connection", "Upgrade");
  r.headers.add("Upgrade", "SPDY/3.1");
  r.headers.add("X-Stream-Protocol-Version", chosen);
  r.upgrade = std::move(handler);
  return r;
}

}  // namespace mr::stream
