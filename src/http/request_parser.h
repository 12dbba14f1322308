// The grammar of requests and answers: Beast's parser with storage of our own. Internal to http/. Not thread safe.
#pragma once
#include <boost/beast/http/basic_parser.hpp>

#include "http/message.h"

namespace mr::http {

namespace beast = boost::beast;

// Beast's grammar, our storage: header text is copied once into one buffer, body pieces are views into the read buffer.
template <bool kRequest>
class MessageParser : public beast::http::basic_parser<kRequest> {
 public:
  std::string head;  // method, target and header bytes; offsets below point into it
  struct Span {
    std::uint32_t at, size;
  };
  Span method{}, target{};
  beast::http::verb verb = beast::http::verb::unknown;
  int status = 0;  // of an answer
  int http_version = 11;
  using Fields = std::vector<std::pair<Span, Span>>;
  Fields fields;
  std::string_view piece;
  std::size_t limit = 64 * 1024;  // of the head
  static constexpr std::size_t kMaxFields = 1000;

  void reset_head() {
    head.clear();
    fields.clear();
    piece = {};
  }
  // Content-Length as sent, 0 included; nullopt for chunked or no body.
  std::optional<std::uint64_t> declared_length() const {
    auto n = this->content_length();
    return n ? std::optional<std::uint64_t>(*n) : std::nullopt;
  }
  std::string_view view(Span s) const { return std::string_view(head).substr(s.at, s.size); }

 private:
  Span keep(beast::string_view s) {
    Span r{static_cast<std::uint32_t>(head.size()), static_cast<std::uint32_t>(s.size())};
    head.append(s.data(), s.size());
    return r;
  }
  void on_request_impl(beast::http::verb v, beast::string_view m, beast::string_view t, int version,
                       beast::error_code& ec) override {
    verb = v;
    http_version = version;
    method = keep(m);
    target = keep(t);
    ec = {};
  }
  void on_response_impl(int code, beast::string_view, int version, beast::error_code& ec) override {
    status = code;
    http_version = version;
    ec = {};
  }
  void on_field_impl(beast::http::field, beast::string_view n, beast::string_view v, beast::error_code& ec) override {
    // The library's own limit is for what it has not read yet; the head as a whole is bounded here.
    if (head.size() + n.size() + v.size() > limit || fields.size() >= kMaxFields) {
      ec = beast::http::error::header_limit;
      return;
    }
    Span name = keep(n);  // two statements: the order of evaluation of arguments is not fixed
    Span value = keep(v);
    fields.emplace_back(name, value);
    ec = {};
  }
  void on_header_impl(beast::error_code& ec) override { ec = {}; }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, beast::error_code& ec) override { ec = {}; }
  std::size_t on_body_impl(beast::string_view b, beast::error_code& ec) override {
    piece = {b.data(), b.size()};
    ec = {};
    return b.size();
  }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, beast::error_code& ec) override { ec = {}; }
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view b, beast::error_code& ec) override {
    piece = {b.data(), b.size()};
    ec = {};
    return b.size();
  }
  void on_finish_impl(beast::error_code& ec) override { ec = {}; }
};

using Parser = MessageParser<true>;
using AnswerParser = MessageParser<false>;

inline Method to_method(beast::http::verb v) {
  using beast::http::verb;
  switch (v) {
    case verb::get:
      return Method::get;
    case verb::head:
      return Method::head;
    case verb::post:
      return Method::post;
    case verb::put:
      return Method::put;
    case verb::patch:
      return Method::patch;
    case verb::delete_:
      return Method::del;
    case verb::options:
      return Method::options;
    default:
      return Method::other;
  }
}

}  // namespace mr::http
