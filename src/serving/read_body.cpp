#include "serving/read_body.h"

#include "text/text.h"

namespace mr::serving {

task::Task<http::Response> answered_by(const http::Handler& inner, http::Request& rq, std::string_view body) {
  if (rq.headers.has("Content-Encoding")) {
    http::HeaderViews plain;
    for (const auto& [n, v] : rq.headers.items())
      if (!text::iequals(n, "Content-Encoding")) plain.add(n, v);
    rq.headers = std::move(plain);
  }
  ReadBody again(body);
  auto* before = std::exchange(rq.body, &again);
  auto answer = co_await inner(rq);
  rq.body = before;
  co_return answer;
}

}  // namespace mr::serving
