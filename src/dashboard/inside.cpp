#include "dashboard/inside.h"

#include "json/parse.h"
#include "text/text.h"

namespace mr::dashboard {

namespace {

constexpr std::size_t kMaxAnswer = 32U << 20;

class TextBody : public http::BodyReader {
 public:
  explicit TextBody(std::string_view text) : text_(text) {}
  task::Task<Result<std::string_view>> read() override { co_return std::exchange(text_, {}); }
  [[nodiscard]] std::optional<std::uint64_t> length() const override { return text_.size(); }

 private:
  std::string_view text_;
};

}  // namespace

task::Task<Result<std::string>> ask_text(const http::Handler& handler, std::string target, std::string body,
                                         const http::PeerCertificate* peer) {
  TextBody reader(body);
  http::Request rq;
  rq.method = body.empty() ? http::Method::get : http::Method::post;
  rq.method_text = http::method_name(rq.method);
  rq.target = target;
  auto question = target.find('?');
  rq.path = std::string_view(target).substr(0, question);
  rq.query = question == std::string::npos ? std::string_view() : std::string_view(target).substr(question + 1);
  auto length = std::to_string(body.size());
  rq.headers.add("Host", "localhost");
  rq.headers.add("Accept", "application/json");
  if (!body.empty()) {
    rq.headers.add("Content-Type", "application/json");
    rq.headers.add("Content-Length", length);
  }
  rq.body = &reader;
  rq.id = "dashboard";
  rq.remote = "127.0.0.1";
  rq.peer = peer;
  auto res = co_await handler(rq);
  std::string text;
  if (auto* whole = std::get_if<std::string>(&res.body)) {
    text = std::move(*whole);
  } else if (auto* stream = std::get_if<http::StreamBody>(&res.body)) {
    for (;;) {
      auto piece = co_await (*stream)();
      if (!piece) co_return std::unexpected(std::move(piece).error());
      if (piece->empty()) break;
      if (text.size() + piece->size() > kMaxAnswer) co_return fail(Code::too_large, "the answer is too large");
      text += *piece;
    }
  } else {
    co_return fail(Code::unimplemented, "the answer is a file");
  }
  if (res.status >= 400) {
    auto doc = json::parse(text);
    std::string said;
    if (doc) said = text_of(*doc, "message");
    if (said.empty()) said = fmt::format("{} answered {}", target.substr(0, question), res.status);
    co_return fail(res.status == 404   ? Code::not_found
                   : res.status == 409 ? Code::already_exists
                   : res.status == 400 ? Code::invalid_argument
                                       : Code::unavailable,
                   std::move(said));
  }
  co_return text;
}

task::Task<Result<Value>> ask(const http::Handler& handler, std::string target, std::string body,
                              const http::PeerCertificate* peer) {
  auto text = co_await ask_text(handler, std::move(target), std::move(body), peer);
  if (!text) co_return std::unexpected(std::move(text).error());
  co_return json::parse(*text, 256);
}

const http::PeerCertificate& viewer() {
  static const http::PeerCertificate who{"millrace:dashboard", {"millrace:dashboard"}};
  return who;
}
const http::PeerCertificate& administrator() {
  static const http::PeerCertificate who{"millrace:dashboard-setup", {"system:masters"}};
  return who;
}

const Value* at(const Value& v, std::string_view path) {
  const Value* here = &v;
  for (auto name : text::split(path, '.')) {
    here = json::find(*here, name);
    if (here == nullptr) return nullptr;
  }
  return here;
}
std::string_view text_of(const Value& v, std::string_view path) {
  const auto* x = at(v, path);
  return x != nullptr && x->is_string() ? std::string_view(x->get_string()) : std::string_view();
}
std::int64_t number_of(const Value& v, std::string_view path) {
  const auto* x = at(v, path);
  if (x == nullptr) return 0;
  if (x->is_int64()) return x->get_int64();
  if (x->is_uint64()) return static_cast<std::int64_t>(x->get_uint64());
  if (x->is_string()) return text::to_i64(x->get_string()).value_or(0);
  return 0;
}
const Array& list_of(const Value& v, std::string_view path) {
  static const Array none;
  const auto* x = at(v, path);
  return x != nullptr && x->is_array() ? x->get_array() : none;
}

}  // namespace mr::dashboard
