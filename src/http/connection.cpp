#include "http/connection.h"

#include <poll.h>
#include <sys/sendfile.h>

#include "crypto/random.h"
#include "http/byte_stream.h"
#include "http/heads.h"
#include "http/transport.h"
#include "log/log.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::http {

namespace asio = boost::asio;
namespace beast = boost::beast;
using tcp = asio::ip::tcp;

namespace {

struct Wait {
  tcp::socket& socket;
  tcp::socket::wait_type what;
  boost::system::error_code ec{};
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    socket.async_wait(what, [this, h](const boost::system::error_code& e) {
      ec = e;
      h.resume();
    });
  }
  boost::system::error_code await_resume() const noexcept { return ec; }
};

constexpr std::size_t kReadBuffer = 64 * 1024;
constexpr std::size_t kDrainLimit = 256 * 1024;
constexpr std::size_t kUsualHead = 4 * 1024;
constexpr std::uint64_t kSmallFile = 32 * 1024;

}  // namespace

class Connection : public BodyReader {
 public:
  Connection(Shard& shard, tcp::socket socket)
      : shard_(shard), transport_(std::move(socket), shard.options->tls.get()), socket_(transport_.socket()) {
    boost::system::error_code ec;
    socket_.non_blocking(true, ec);
    socket_.set_option(tcp::no_delay(true), ec);
    auto peer = socket_.remote_endpoint(ec);
    if (!ec) {
      remote_ = peer.address().to_string();
      remote_port_ = peer.port();
    }
    at_ = shard_.connections.insert(shard_.connections.end(), this);
    shard_.metrics->connections.add(1);
  }
  ~Connection() override {
    shard_.connections.erase(at_);
    shard_.metrics->connections.add(-1);
  }

  task::Task<void> run() {
    if (transport_.secure() && !co_await handshake()) open_ = false;
    if (open_ && shard_.options->http2 && co_await speaks_http2()) {
      co_await take_over();
      open_ = false;
    }
    while (open_) {
      begin_request();
      parser_->header_limit(shard_.options->header_limit);
      parser_->limit = shard_.options->header_limit;
      parser_->body_limit(boost::none);
      idle_ = true;
      if (!co_await read_head()) break;
      idle_ = false;
      if (!co_await exchange()) break;
      answered_ = true;
    }
    co_await flush();
    if (socket_.is_open()) transport_.shutdown_send();
    transport_.close();
  }

  void expire(std::int64_t now) {
    if (streaming_) {
      // Nothing is read while an answer streams, so the end of the connection has to be asked for.
      pollfd p{socket_.native_handle(), POLLRDHUP, 0};
      if (::poll(&p, 1, 0) > 0) gone_->store(true, std::memory_order_relaxed);
    }
    if (deadline_ == 0 || now < deadline_) return;
    timed_out_ = true;
    boost::system::error_code ec;
    socket_.cancel(ec);
    if (idle_ || writing_) socket_.close(ec);
  }
  void drain() {
    open_ = false;
    if (taken_ != nullptr && taken_->drain) taken_->drain();
    if (idle_ && begin_ == end_) {
      boost::system::error_code ec;
      socket_.cancel(ec);
    }
  }
  void abort() {
    open_ = false;
    transport_.close();
  }

  task::Task<Result<std::string_view>> read() override {
    if (want_continue_) {
      want_continue_ = false;
      out_ += "HTTP/1.1 100 Continue\r\n\r\n";
      if (!co_await flush()) co_return gone();
    }
    for (;;) {
      if (parser_->is_done()) co_return std::string_view{};
      parser_->piece = {};
      if (begin_ < end_) {
        beast::error_code ec;
        begin_ += parser_->put(asio::buffer(in_.get() + begin_, end_ - begin_), ec);
        if (ec && ec != beast::http::error::need_more) {
          open_ = false;
          co_return fail(Code::invalid_argument, "The chunked body is malformed");
        }
        if (!parser_->piece.empty()) co_return parser_->piece;
        if (!ec) continue;
      }
      arm(shard_.options->body_stall_timeout_s);
      if (!co_await fill()) co_return gone();
      disarm();
    }
  }
  std::optional<std::uint64_t> length() const override { return parser_->declared_length(); }

 private:
  // A parser for the next request, with the memory of the last one's, as long as that is usual.
  void begin_request() {
    std::string head;
    Parser::Fields fields;
    if (parser_ && parser_->head.capacity() <= kUsualHead) {
      head = std::move(parser_->head);
      fields = std::move(parser_->fields);
    }
    parser_.emplace();
    parser_->head = std::move(head);
    parser_->fields = std::move(fields);
    parser_->reset_head();
    parser_->head.reserve(512);
  }
  std::unexpected<Error> gone() {
    open_ = false;
    if (timed_out_) return fail(Code::deadline_exceeded, "The request body did not arrive in time");
    return fail(Code::cancelled, "The client closed the connection before its body was complete");
  }
  void arm(int seconds) { deadline_ = time::mono_ns() + seconds * 1'000'000'000LL; }
  void disarm() { deadline_ = 0; }

  // Reads at least one byte into the buffer; false at end of stream, error or timeout.
  task::Task<bool> fill() {
    if (!in_) in_ = std::make_unique_for_overwrite<char[]>(kReadBuffer);
    if (begin_ == end_) begin_ = end_ = 0;
    if (end_ == kReadBuffer && begin_ > 0) {
      std::memmove(in_.get(), in_.get() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    if (end_ == kReadBuffer) co_return false;
    for (;;) {
      std::size_t got = 0;
      Io io = transport_.recv(in_.get() + end_, kReadBuffer - end_, got);
      if (io == Io::done) {
        end_ += got;
        co_return true;
      }
      if (io == Io::end) co_return false;
      if (!co_await ready(io)) {
        failed_ = true;
        co_return false;
      }
    }
  }
  // Waits for what an attempt could not go on without; false when there is no going on.
  task::Task<bool> ready(Io io) {
    if (io != Io::wait_read && io != Io::wait_write) co_return false;
    Wait w{socket_, io == Io::wait_read ? tcp::socket::wait_read : tcp::socket::wait_write};
    co_return !co_await w;
  }
  task::Task<bool> handshake() {
    idle_ = true;  // a shutdown need not wait for it
    arm(shard_.options->header_timeout_s);
    for (;;) {
      Io io = transport_.handshake();
      if (io == Io::done) break;
      if (!co_await ready(io)) co_return false;
    }
    disarm();
    co_return true;
  }

  // Whether the connection begins with HTTP/2's preface. What was read stays to be read.
  task::Task<bool> speaks_http2() {
    constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    arm(shard_.options->idle_timeout_s);
    bool same = true;
    while (same && end_ < kPreface.size()) {
      if (!co_await fill()) break;
      idle_ = false;
      arm(shard_.options->header_timeout_s);
      same = kPreface.starts_with(std::string_view(in_.get(), std::min(end_, kPreface.size())));
    }
    disarm();
    if (end_ == 0) open_ = false;  // nothing came at all
    idle_ = true;
    co_return same&& end_ >= kPreface.size();
  }
  task::Task<void> take_over() {
    disarm();
    idle_ = false;
    boost::system::error_code ec;
    socket_.set_option(asio::socket_base::keep_alive(true), ec);
    Taken stream(*this);
    TakenOver taken{stream, remote_, transport_.secure()};
    taken_ = &taken;
    if (!shard_.draining) co_await shard_.options->http2(taken);
    taken_ = nullptr;
  }

  task::Task<bool> read_head() {
    arm(shard_.options->idle_timeout_s);
    if (begin_ == end_) {
      if (!co_await flush()) co_return false;
      // The next request is seldom there yet: to ask for it at once would cost a call to hear that.
      if (answered_ && !transport_.secure() && !co_await ready(Io::wait_read)) co_return false;
      if (!co_await fill()) co_return false;
    }
    idle_ = false;
    started_ = time::mono_ns();
    deadline_ = started_ + shard_.options->header_timeout_s * 1'000'000'000LL;
    // One empty line before a request is passed over (RFC 9112 section 2.2).
    if (end_ - begin_ == 1 && in_[begin_] == '\r' && !co_await fill()) co_return false;
    if (end_ - begin_ >= 2 && in_[begin_] == '\r' && in_[begin_ + 1] == '\n') {
      begin_ += 2;
      if (begin_ == end_ && !co_await fill()) co_return false;
    }
    for (;;) {
      // A request line alone may be long before its end is seen: bound it early.
      beast::error_code ec;
      begin_ += parser_->put(asio::buffer(in_.get() + begin_, end_ - begin_), ec);
      if (parser_->is_header_done()) break;
      if (ec && ec != beast::http::error::need_more) {
        using E = beast::http::error;
        if (ec == E::header_limit || ec == E::buffer_overflow)
          co_await refuse_head();
        else if (ec == E::bad_version)
          co_await refuse(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here");
        else
          co_await refuse(400, "Malformed HTTP request: " + ec.message());
        co_return false;
      }
      if (end_ - begin_ >= kReadBuffer) {
        co_await refuse_head();
        co_return false;
      }
      if (!co_await fill()) {
        if (timed_out_) co_await refuse(408, "The request head did not arrive in time");
        co_return false;
      }
    }
    disarm();
    co_return true;
  }

  // A head beyond the limit: one whose first line has not even ended is one long target.
  task::Task<void> refuse_head() {
    bool in_target = parser_->method.size == 0 &&
                     std::string_view(in_.get() + begin_, end_ - begin_).find('\n') == std::string_view::npos;
    co_await refuse(in_target ? 414 : 431, in_target ? "The request target is longer than the limit"
                                                     : "The request head is larger than the limit");
  }

  // Answers a request that no handler sees, and closes.
  task::Task<void> refuse(int status, std::string_view why) {
    timed_out_ = false;
    std::string body = fmt::format("{}\n", why);
    out_ += fmt::format(
        "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: "
        "close\r\n\r\n{}",
        status, reason_phrase(status), body.size(), body);
    shard_.metrics->by_class[status / 100].add();
    open_ = false;
    co_await flush();
    co_await linger();
  }

  // Lets the client read the answer before the reset that unread input would cause.
  task::Task<void> linger() {
    transport_.shutdown_send();
    arm(1);
    std::size_t budget = 1 << 20;
    begin_ = end_ = 0;
    while (budget > 0 && co_await fill()) {
      budget -= std::min(budget, end_);
      begin_ = end_ = 0;
    }
  }

  // One request and its answer; false when the connection must close.
  task::Task<bool> exchange() {
    Request req;
    auto& p = *parser_;
    if (auto refused = read_head_of(p, shard_.options->target_limit, req, want_continue_)) {
      co_await refuse(refused->status, refused->why);
      co_return false;
    }
    if (req.id.empty()) req.id = crypto::random_hex(8);
    req.remote = remote_;
    req.remote_port = remote_port_;
    req.secure = transport_.secure();
    if (req.secure) {
      req.peer = transport_.peer() ? &*transport_.peer() : nullptr;
      req.peer_refused = transport_.peer_refused();
    }
    req.body = this;
    req.gone = &gone_;
    bool keep = p.keep_alive();

    Response res = co_await (*shard_.handler)(req);

    // A body that the handler left: small rests are read past, others cost the connection.
    want_continue_ = false;
    bool must_linger = false;
    if (!p.is_done() && open_) {
      bool expects = req.headers.has("Expect") && begin_ == end_;
      std::size_t seen = 0;
      if (expects || p.declared_length().value_or(0) > kDrainLimit) {
        keep = false;
        must_linger = true;
      } else {
        while (!p.is_done()) {
          auto piece = co_await read();
          if (!piece || (seen += piece->size()) > kDrainLimit) {
            keep = false;
            must_linger = true;
            break;
          }
          if (piece->empty()) break;
        }
      }
    }
    keep = keep && open_ && !shard_.draining;
    bool sent = co_await send(req, res, keep);
    auto elapsed = time::mono_ns() - started_;
    int cls = res.status / 100;
    shard_.metrics->by_class[cls >= 1 && cls <= 5 ? cls : 0].add();
    shard_.metrics->seconds.observe(static_cast<double>(elapsed) / 1e9);
    if (log::enabled(log::Level::debug) || shard_.options->access_log) {
      log::write(shard_.options->access_log ? log::Level::info : log::Level::debug, "request",
                 {{"listener", shard_.options->name},
                  {"method", req.method_text},
                  {"path", req.path},
                  {"status", res.status},
                  {"ms", static_cast<double>(elapsed) / 1e6},
                  {"remote", req.remote},
                  {"request_id", req.id}});
    }
    if (sent && res.upgrade) {
      co_await hand_over(std::move(res.upgrade));
      co_return false;
    }
    if (sent && must_linger) {
      co_await flush();
      co_await linger();
    }
    co_return sent&& keep;
  }

  // The connection's bytes as a stream for whoever takes it over.
  class Taken final : public ByteStream {
   public:
    explicit Taken(Connection& c) : c_(c) {}
    task::Task<Result<std::string_view>> read() override {
      c_.begin_ += std::exchange(given_, 0);
      if (c_.begin_ == c_.end_ && !ended_ && !co_await c_.fill()) {
        ended_ = true;
        if (c_.failed_) co_return fail(Code::cancelled, "The connection was lost");
      }
      given_ = c_.end_ - c_.begin_;
      co_return std::string_view(c_.in_.get() + c_.begin_, given_);
    }
    task::Task<Result<void>> write(std::string_view bytes) override {
      while (!bytes.empty()) {
        std::size_t taken = 0;
        Io io = c_.transport_.send(bytes.data(), bytes.size(), taken);
        if (io == Io::done)
          bytes.remove_prefix(taken);
        else if (!co_await c_.ready(io))
          co_return fail(Code::cancelled, "The connection was lost");
      }
      co_return Result<void>{};
    }
    task::Task<Result<void>> shutdown_write() override {
      c_.transport_.shutdown_send();
      co_return Result<void>{};
    }
    void close() override {
      c_.failed_ = true;
      c_.transport_.close();
    }

   private:
    Connection& c_;
    std::size_t given_ = 0;
    bool ended_ = false;
  };
  task::Task<void> hand_over(UpgradeHandler handler) {
    disarm();
    boost::system::error_code ec;
    socket_.set_option(asio::socket_base::keep_alive(true), ec);  // the only thing that notices a vanished client now
    Taken stream(*this);
    co_await handler(stream);
  }

  task::Task<bool> send(Request& req, Response& res, bool keep) {
    bool head_only = req.method == Method::head;
    bool bodiless = res.status == 204 || res.status == 304 || res.status < 200;
    auto* text_body = std::get_if<std::string>(&res.body);
    auto* file = std::get_if<FileBody>(&res.body);
    auto* stream = std::get_if<StreamBody>(&res.body);
    if (!head_only) compress_answer(req, res);
    bool http10 = parser_->http_version < 11;
    bool chunked = append_head_of(out_, req, res, http10, keep);
    if (res.upgrade) {
      out_ += "\r\n";
      co_return co_await flush();
    }
    if (!keep) {
      out_ += "Connection: close\r\n";
      open_ = false;
    } else if (http10) {
      out_ += "Connection: keep-alive\r\n";
    }
    out_ += "\r\n";
    if (head_only || bodiless) co_return co_await maybe_flush();
    if (text_body != nullptr) {
      if (text_body->size() <= 32 * 1024) {
        out_ += *text_body;
        co_return co_await maybe_flush();
      }
      co_return co_await flush() && co_await write(*text_body);
    }
    if (file != nullptr) {
      // A small file goes out with its head in one call.
      if (file->length <= kSmallFile && append_file(*file)) co_return co_await maybe_flush();
      co_return co_await flush() && co_await write_file(*file);
    }
    // A stream's first piece may be long in coming (a watch): the client hears at once that it has begun.
    if (!co_await flush()) co_return false;
    for (;;) {
      streaming_ = true;
      auto piece = co_await (*stream)();
      streaming_ = false;
      if (!piece) {  // the head is gone out: closing without the last chunk tells the client that it is cut
        log::warn("a streamed answer failed",
                  {{"request_id", req.id}, {"error", piece.error().message}, {"detail", piece.error().detail}});
        open_ = false;
        co_return false;
      }
      if (piece->empty()) break;
      if (chunked) {
        out_ += fmt::format("{:x}\r\n", piece->size());
        out_ += *piece;
        out_ += "\r\n";
      } else {
        out_ += *piece;
      }
      if (!co_await flush()) co_return false;
    }
    if (chunked) out_ += "0\r\n\r\n";
    co_return co_await maybe_flush();
  }

  // With more pipelined input waiting, answers are gathered and written together.
  task::Task<bool> maybe_flush() {
    if (begin_ < end_ && open_ && out_.size() < kReadBuffer) co_return true;
    co_return co_await flush();
  }
  task::Task<bool> flush() {
    if (out_.empty()) co_return true;
    bool ok = co_await write(out_);
    out_.clear();
    if (out_.capacity() > 4 * kReadBuffer) out_.shrink_to_fit();
    co_return ok;
  }
  task::Task<bool> write(std::string_view data) {
    while (!data.empty()) {
      std::size_t taken = 0;
      Io io = transport_.send(data.data(), data.size(), taken);
      if (io == Io::done) {
        data.remove_prefix(taken);
      } else if (!co_await writable(io)) {
        open_ = false;
        co_return false;
      }
    }
    co_return true;
  }
  bool append_file(const FileBody& f) {
    auto before = out_.size();
    out_.resize(before + f.length);
    ssize_t n = ::pread(f.fd.get(), out_.data() + before, f.length, static_cast<off_t>(f.offset));
    if (n == static_cast<ssize_t>(f.length)) return true;
    out_.resize(before);
    return false;
  }
  task::Task<bool> write_file(FileBody& f) {
    if (transport_.secure()) co_return co_await copy_file(f);
    auto offset = static_cast<off_t>(f.offset);
    std::uint64_t left = f.length;
    while (left > 0) {
      ssize_t n = ::sendfile(socket_.native_handle(), f.fd.get(), &offset, std::min<std::uint64_t>(left, 1 << 20));
      if (n > 0) {
        left -= static_cast<std::uint64_t>(n);
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      if (n == 0 || errno != EAGAIN || !co_await writable(Io::wait_write)) {
        open_ = false;
        co_return false;
      }
    }
    co_return true;
  }
  // Under TLS the bytes must pass through the process.
  task::Task<bool> copy_file(FileBody& f) {
    auto offset = static_cast<off_t>(f.offset);
    std::uint64_t left = f.length;
    auto piece = std::make_unique_for_overwrite<char[]>(kReadBuffer);
    while (left > 0) {
      ssize_t n = ::pread(f.fd.get(), piece.get(), std::min<std::uint64_t>(left, kReadBuffer), offset);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0 || !co_await write({piece.get(), static_cast<std::size_t>(n)})) {
        open_ = false;
        co_return false;
      }
      offset += n;
      left -= static_cast<std::uint64_t>(n);
    }
    co_return true;
  }
  task::Task<bool> writable(Io io) {
    writing_ = true;
    arm(shard_.options->write_stall_timeout_s);
    bool ok = co_await ready(io);
    disarm();
    writing_ = false;
    co_return ok;
  }

  Shard& shard_;
  Transport transport_;
  tcp::socket& socket_;
  std::list<Connection*>::iterator at_;
  std::string remote_;
  std::uint16_t remote_port_ = 0;
  std::optional<Parser> parser_;
  std::unique_ptr<char[]> in_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::string out_;
  std::int64_t deadline_ = 0;
  std::int64_t started_ = 0;
  bool open_ = true;
  bool idle_ = true;
  bool answered_ = false;  // a request, and so the client may take its time for the next
  bool writing_ = false;
  bool timed_out_ = false;
  bool failed_ = false;  // closed from our side, or in the middle
  bool want_continue_ = false;
  TakenOver* taken_ = nullptr;
  bool streaming_ = false;  // waits for the next piece of an answer
  std::shared_ptr<std::atomic<bool>> gone_ = std::make_shared<std::atomic<bool>>(false);
};

task::Task<void> serve_connection(Shard& shard, tcp::socket socket) {
  Connection c(shard, std::move(socket));
  co_await c.run();
}

void expire_connections(Shard& shard) {
  auto now = time::mono_ns();
  for (auto it = shard.connections.begin(); it != shard.connections.end();) (*it++)->expire(now);
}
void drain_connections(Shard& shard) {
  shard.draining = true;
  for (auto it = shard.connections.begin(); it != shard.connections.end();) (*it++)->drain();
}
void abort_connections(Shard& shard) {
  for (auto it = shard.connections.begin(); it != shard.connections.end();) (*it++)->abort();
}

}  // namespace mr::http
