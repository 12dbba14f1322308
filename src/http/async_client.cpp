#include "http/async_client.h"

#include "http/request_parser.h"
#include "http/tcp_stream.h"
#include "task/event.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::http {

namespace asio = boost::asio;

namespace {

struct Idle {
  std::unique_ptr<ByteStream> stream;
  std::int64_t since = 0;
};

// One loop's kept connections.
struct Kept {
  std::map<std::pair<std::string, std::uint16_t>, std::vector<Idle>> by_endpoint;
  std::size_t count = 0;
};

std::unexpected<Error> broke(Code code, std::string_view reason, std::string detail = {}) {
  return fail(code, fmt::format("the server did not answer: {}", reason), std::string(reason), std::move(detail));
}

}  // namespace

struct AsyncClient::Impl {
  Limits limits;
  ClientContext context;  // null: plain
  std::string host;
  std::mutex mutex;
  std::map<task::Loop*, std::unique_ptr<Kept>> loops;

  Kept& kept() {
    std::scoped_lock lock(mutex);
    auto& k = loops[task::Loop::current()];
    if (!k) k = std::make_unique<Kept>();
    return *k;
  }
  // A kept connection that still looks open, the one used last first.
  std::unique_ptr<ByteStream> take(const Endpoint& e) {
    auto& k = kept();
    auto it = k.by_endpoint.find({e.ip, e.port});
    if (it == k.by_endpoint.end()) return nullptr;
    std::unique_ptr<ByteStream> found;
    auto oldest = time::mono_ns() - limits.idle_s * 1'000'000'000LL;
    auto& list = it->second;
    while (!list.empty() && !found) {
      auto i = std::move(list.back());
      list.pop_back();
      --k.count;
      if (i.since >= oldest && (context ? quiet_tls(*i.stream) : quiet(*i.stream))) found = std::move(i.stream);
    }
    if (list.empty()) k.by_endpoint.erase(it);
    return found;
  }
  void give(const Endpoint& e, std::unique_ptr<ByteStream> s) {
    auto& k = kept();
    auto now = time::mono_ns();
    if (k.count >= limits.idle_in_all) sweep(k, now);
    auto& list = k.by_endpoint[{e.ip, e.port}];
    if (list.size() >= limits.idle_per_endpoint || k.count >= limits.idle_in_all) {
      if (list.empty()) k.by_endpoint.erase({e.ip, e.port});
      return;
    }
    list.push_back({std::move(s), now});
    ++k.count;
  }
  // Drops what is too old, of all endpoints.
  void sweep(Kept& k, std::int64_t now) const {
    auto oldest = now - limits.idle_s * 1'000'000'000LL;
    for (auto it = k.by_endpoint.begin(); it != k.by_endpoint.end();) {
      k.count -= std::erase_if(it->second, [&](const Idle& i) { return i.since < oldest; });
      it = it->second.empty() ? k.by_endpoint.erase(it) : std::next(it);
    }
  }
};

namespace {

// An upgraded connection: what came behind the head, then the rest.
class Rest final : public ByteStream {
 public:
  Rest(std::unique_ptr<ByteStream> inner, std::string first) : inner_(std::move(inner)), first_(std::move(first)) {}
  task::Task<Result<std::string_view>> read() override {
    if (!std::exchange(given_, true) && !first_.empty()) co_return std::string_view(first_);
    co_return co_await inner_->read();
  }
  task::Task<Result<void>> write(std::string_view bytes) override { return inner_->write(bytes); }
  task::Task<Result<void>> shutdown_write() override { return inner_->shutdown_write(); }
  void close() override { inner_->close(); }

 private:
  std::unique_ptr<ByteStream> inner_;
  std::string first_;
  bool given_ = false;
};

// One request and its answer on one connection.
class Exchange final : public BodyReader {
 public:
  Exchange(std::shared_ptr<AsyncClient::Impl> client, Endpoint endpoint, AsyncRequest& rq)
      : client_(std::move(client)),
        endpoint_(std::move(endpoint)),
        timeout_ms_(rq.timeout_ms),
        fresh_(rq.fresh),
        abort_(rq.abort) {
    if (abort_)
      abort_->close = [this] {
        if (stream_) stream_->close();
        if (under_ != nullptr) under_->close();
      };
  }
  ~Exchange() override {
    if (abort_) abort_->close = nullptr;
  }

  // Sends, and reads the answer's head. `again` asks for a new connection; after a failure it says that the request may
  // be sent once more on one.
  task::Task<Result<void>> begin(AsyncRequest& rq, bool& again) {
    stream_ = again || fresh_ ? nullptr : client_->take(endpoint_);
    bool reused = stream_ != nullptr;
    again = false;
    if (!reused) MR_CO_CHECK(co_await connect(rq.connect_timeout_ms));
    if (aborted()) co_return lost({});
    auto* pulled = std::get_if<BodyReader*>(&rq.body);
    task::Group sending;
    if (pulled == nullptr) {
      start_clock();
      if (!co_await stream_->write(head_of(rq) + std::get<std::string>(rq.body)) && !reused)
        co_return lost("connection termination");
    } else {
      sending.spawn(send_body(rq, **pulled));
    }
    auto answer = co_await read_head(rq.method == "HEAD");
    if (!answer) stream_->close();
    co_await sending.join();
    if (body_broke_) co_return std::unexpected(*body_broke_);
    // A kept connection that the server closed at this very moment. What may not be done twice is not sent twice.
    bool idempotent = rq.method != "POST" && rq.method != "PATCH" && rq.method != "CONNECT";
    if (!answer && reused && !any_ && !late_ && !aborted() && pulled == nullptr && idempotent) again = true;
    co_return answer;
  }

  AsyncAnswer answer(std::unique_ptr<Exchange> self) {
    AsyncAnswer a;
    a.status = parser_->status;
    for (const auto& [n, v] : parser_->fields)
      a.headers.add(std::string(parser_->view(n)), std::string(parser_->view(v)));
    if (a.status == 101) {
      clock_.cancel();
      a.upgraded = std::make_unique<Rest>(std::move(stream_), in_.substr(at_));
      finished_ = true;
    } else {
      length_ = parser_->declared_length();
      if (parser_->is_done()) finish();
    }
    a.body = std::move(self);
    return a;
  }

  task::Task<Result<std::string_view>> read() override {
    for (;;) {
      if (!finished_ && parser_->is_done()) finish();
      if (finished_) co_return std::string_view{};
      if (stream_ == nullptr) co_return lost("connection termination");
      parser_->piece = {};
      if (at_ < in_.size()) {
        beast::error_code ec;
        at_ += parser_->put(asio::buffer(in_.data() + at_, in_.size() - at_), ec);
        if (ec && ec != beast::http::error::need_more) co_return lost("protocol error");
        if (!parser_->piece.empty()) co_return parser_->piece;
        if (!ec) continue;
      }
      if (!co_await more()) {
        beast::error_code ec;
        if (!late_ && !failed_ && !aborted()) parser_->put_eof(ec);
        if (late_ || failed_ || aborted() || ec || !parser_->is_done()) co_return lost("connection termination");
        finished_ = true;  // its end was the connection's
        stream_.reset();
        clock_.cancel();
      }
    }
  }
  [[nodiscard]] std::optional<std::uint64_t> length() const override { return length_; }

 private:
  [[nodiscard]] bool aborted() const { return abort_ && abort_->aborted; }
  task::Task<Result<void>> connect(int timeout_ms) {
    auto s = co_await connect_tcp(endpoint_.ip, endpoint_.port, timeout_ms);
    if (!s)
      co_return broke(s.error().code == Code::deadline_exceeded ? Code::deadline_exceeded : Code::unavailable,
                      s.error().code == Code::deadline_exceeded ? "connection timeout" : "connection failure",
                      s.error().message);
    stream_ = std::move(*s);
    if (!client_->context) co_return Result<void>{};
    // A server that says nothing must not hold a handshake for ever.
    under_ = stream_.get();
    bool late = false;
    task::Timer timer;
    timer.start(timeout_ms, [&] {
      late = true;
      under_->close();
    });
    auto secure = co_await start_tls(std::move(stream_), client_->context, client_->host);
    timer.cancel();
    under_ = nullptr;
    if (late) co_return broke(Code::deadline_exceeded, "connection timeout");
    if (!secure) co_return broke(Code::unavailable, "connection failure", secure.error().message);
    stream_ = std::move(*secure);
    co_return Result<void>{};
  }
  std::unexpected<Error> lost(std::string_view reason) {
    if (stream_) stream_->close();
    if (aborted()) return broke(Code::cancelled, "cancelled");
    if (late_) return broke(Code::deadline_exceeded, "timeout");
    return broke(Code::data_loss, reason);
  }
  void start_clock() {
    if (timeout_ms_ <= 0) return;
    clock_.start(timeout_ms_, [this] {
      late_ = true;
      if (stream_) stream_->close();
    });
  }
  // The answer is complete: the connection is kept, if both sides are fit for another one.
  void finish() {
    finished_ = true;
    clock_.cancel();
    if (stream_ && parser_->keep_alive() && at_ == in_.size() && sent_ && !fresh_)
      client_->give(endpoint_, std::move(stream_));
    stream_.reset();
  }

  std::string head_of(const AsyncRequest& rq) const {
    std::string out = fmt::format("{} {} HTTP/1.1\r\n", rq.method, rq.target);
    auto line = [&](std::string_view n, std::string_view v) {
      out += n;
      out += ": ";
      for (char c : v) out += c == '\r' || c == '\n' ? ' ' : c;
      out += "\r\n";
    };
    if (!rq.headers.has("Host")) line("Host", fmt::format("{}:{}", endpoint_.ip, endpoint_.port));
    for (const auto& [n, v] : rq.headers.items())
      if (!text::iequals(n, "Content-Length") && !text::iequals(n, "Transfer-Encoding")) line(n, v);
    if (auto* pulled = std::get_if<BodyReader*>(&rq.body)) {
      auto n = rq.sized ? (*pulled)->length() : std::nullopt;
      if (n)
        line("Content-Length", std::to_string(*n));
      else
        line("Transfer-Encoding", "chunked");
    } else if (const auto& body = std::get<std::string>(rq.body);
               !body.empty() || rq.method == "POST" || rq.method == "PUT" || rq.method == "PATCH") {
      line("Content-Length", std::to_string(body.size()));
    }
    out += "\r\n";
    return out;
  }

  task::Task<void> send_body(AsyncRequest& rq, BodyReader& body) {
    sent_ = false;
    bool chunked = !(rq.sized && body.length());
    bool open = static_cast<bool>(co_await stream_->write(head_of(rq)));
    std::string out;
    // An answer that came already does not end the reading: the client would take the rest for a reset.
    for (;;) {
      auto piece = co_await body.read();
      if (!piece) {
        body_broke_ = piece.error();
        stream_->close();
        co_return;
      }
      if (piece->empty()) break;
      if (!open) continue;
      if (chunked) {
        out = fmt::format("{:x}\r\n", piece->size());
        out += *piece;
        out += "\r\n";
      }
      open = static_cast<bool>(co_await stream_->write(chunked ? std::string_view(out) : *piece));
    }
    if (open && chunked) open = static_cast<bool>(co_await stream_->write("0\r\n\r\n"));
    sent_ = open;
    start_clock();
  }

  task::Task<bool> more() {
    auto bytes = co_await stream_->read();
    failed_ = !bytes;
    if (!bytes || bytes->empty()) co_return false;
    any_ = true;
    in_.erase(0, at_);
    at_ = 0;
    in_ += *bytes;
    co_return true;
  }

  task::Task<Result<void>> read_head(bool bodiless) {
    for (;;) {
      parser_.emplace();
      parser_->limit = client_->limits.head;
      parser_->header_limit(static_cast<std::uint32_t>(client_->limits.head));
      parser_->body_limit(boost::none);
      if (bodiless) parser_->skip(true);
      while (!parser_->is_header_done()) {
        beast::error_code ec = beast::http::error::need_more;
        if (at_ < in_.size()) at_ += parser_->put(asio::buffer(in_.data() + at_, in_.size() - at_), ec);
        if (parser_->is_header_done()) break;
        if (ec && ec != beast::http::error::need_more) co_return lost("protocol error");
        if (in_.size() - at_ > client_->limits.head) co_return lost("protocol error");
        if (!co_await more()) co_return lost("connection termination");
      }
      // 100 Continue and its like come before the answer.
      if (parser_->status >= 200 || parser_->status == 101) co_return Result<void>{};
    }
  }

  std::shared_ptr<AsyncClient::Impl> client_;
  Endpoint endpoint_;
  int timeout_ms_;
  bool fresh_;
  std::shared_ptr<Abort> abort_;
  std::unique_ptr<ByteStream> stream_;
  ByteStream* under_ = nullptr;  // what the handshake goes over
  std::optional<AnswerParser> parser_;
  std::string in_;
  std::size_t at_ = 0;
  std::optional<std::uint64_t> length_;
  std::optional<Error> body_broke_;
  task::Timer clock_;
  bool sent_ = true;
  bool any_ = false;
  bool late_ = false;
  bool failed_ = false;
  bool finished_ = false;
};

}  // namespace

AsyncClient::AsyncClient() : AsyncClient(Limits{}) {}
AsyncClient::AsyncClient(Limits limits) : impl_(std::make_shared<Impl>()) { impl_->limits = limits; }
AsyncClient::AsyncClient(Limits limits, ClientContext context, std::string host) : AsyncClient(limits) {
  impl_->context = std::move(context);
  impl_->host = std::move(host);
}
AsyncClient::~AsyncClient() = default;

task::Task<Result<AsyncAnswer>> AsyncClient::send(Endpoint endpoint, AsyncRequest rq) {
  bool again = false;
  for (int attempt = 0;; ++attempt) {
    auto e = std::make_unique<Exchange>(impl_, endpoint, rq);
    auto begun = co_await e->begin(rq, again);
    if (begun) {
      auto& exchange = *e;
      co_return exchange.answer(std::move(e));
    }
    if (!again || attempt > 0) co_return std::unexpected(begun.error());
  }
}

}  // namespace mr::http
