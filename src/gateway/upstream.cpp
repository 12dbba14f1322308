#include "gateway/upstream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/beast/http/basic_parser.hpp>

#include "core/fd.h"
#include "http/byte_stream.h"
#include "task/event.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::gateway {

namespace asio = boost::asio;
namespace beast = boost::beast;
using Descriptor = asio::posix::stream_descriptor;

namespace {

constexpr std::size_t kBuffer = 64 * 1024;
constexpr std::size_t kHeadLimit = 64 * 1024;
constexpr std::size_t kKeptPerPeer = 64;
constexpr std::int64_t kKeptNs = 30'000'000'000;  // shorter than what servers usually grant

struct Wait {
  Descriptor& descriptor;
  Descriptor::wait_type what;
  boost::system::error_code ec{};
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    descriptor.async_wait(what, [this, h](const boost::system::error_code& e) {
      ec = e;
      h.resume();
    });
  }
  bool await_resume() const noexcept { return !ec; }
};

class Peer {
 public:
  explicit Peer(Fd fd) : descriptor_(task::Loop::current()->context(), fd.release()) {}
  std::string_view have() const { return {in_.get() + begin_, end_ - begin_}; }
  void take(std::size_t n) { begin_ += n; }
  // More bytes; false at the end or when the connection is lost.
  task::Task<bool> fill() {
    if (!in_) in_ = std::make_unique_for_overwrite<char[]>(kBuffer);
    if (begin_ == end_) begin_ = end_ = 0;
    if (begin_ > 0) {
      std::memmove(in_.get(), in_.get() + begin_, end_ - begin_);
      end_ -= std::exchange(begin_, 0);
    }
    if (end_ == kBuffer) co_return false;
    for (;;) {
      ssize_t n = ::recv(descriptor_.native_handle(), in_.get() + end_, kBuffer - end_, 0);
      if (n > 0) {
        end_ += static_cast<std::size_t>(n);
        co_return true;
      }
      if (n == 0) co_return false;
      if (errno == EINTR) continue;
      if (errno != EAGAIN || closed_ || !co_await Wait{descriptor_, Descriptor::wait_read}) co_return false;
    }
  }
  task::Task<bool> write(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t n = ::send(descriptor_.native_handle(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(n));
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      if (errno != EAGAIN || closed_ || !co_await Wait{descriptor_, Descriptor::wait_write}) co_return false;
    }
    co_return true;
  }
  task::Task<int> connected() {
    if (!co_await Wait{descriptor_, Descriptor::wait_write}) co_return ETIMEDOUT;
    int err = 0;
    socklen_t size = sizeof err;
    ::getsockopt(descriptor_.native_handle(), SOL_SOCKET, SO_ERROR, &err, &size);
    co_return err;
  }
  // A kept connection that its server has closed, or spoken on unasked, is of no use.
  bool usable() {
    char c = 0;
    return begin_ == end_ && ::recv(descriptor_.native_handle(), &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }
  void close() {
    closed_ = true;
    boost::system::error_code ec;
    descriptor_.close(ec);
  }
  int release() { return descriptor_.release(); }
  std::int64_t kept_at = 0;

 private:
  Descriptor descriptor_;
  std::unique_ptr<char[]> in_;
  std::size_t begin_ = 0, end_ = 0;
  bool closed_ = false;
};

// Idle connections of this thread's loop. They go with the thread, while its loop still exists.
using Pool = std::unordered_map<std::string, std::vector<std::unique_ptr<Peer>>>;
Pool& pool() {
  thread_local Pool p;
  return p;
}
std::unique_ptr<Peer> kept(const std::string& key) {
  auto it = pool().find(key);
  if (it == pool().end()) return nullptr;
  auto now = time::mono_ns();
  while (!it->second.empty()) {
    auto p = std::move(it->second.back());
    it->second.pop_back();
    if (now - p->kept_at < kKeptNs && p->usable()) return p;
  }
  pool().erase(it);
  return nullptr;
}
void keep(const std::string& key, std::unique_ptr<Peer> p) {
  auto now = time::mono_ns();
  p->kept_at = now;
  auto& list = pool()[key];
  // The oldest stand in front: those too old go, and one more where there are too many.
  std::erase_if(list, [&](const auto& o) { return now - o->kept_at >= kKeptNs; });
  if (list.size() >= kKeptPerPeer) list.erase(list.begin());
  list.push_back(std::move(p));
  if (pool().size() > 256)
    std::erase_if(pool(),
                  [&](const auto& kv) { return kv.second.empty() || now - kv.second.back()->kept_at >= kKeptNs; });
}

// Beast's grammar for answers; our storage.
class AnswerParser : public beast::http::basic_parser<false> {
 public:
  int status = 0;
  http::Headers fields;
  std::string body;
  std::size_t size = 0;

 private:
  void on_request_impl(beast::http::verb, beast::string_view, beast::string_view, int, beast::error_code& ec) override {
    ec = {};
  }
  void on_response_impl(int code, beast::string_view, int, beast::error_code& ec) override {
    status = code;
    ec = {};
  }
  void on_field_impl(beast::http::field, beast::string_view n, beast::string_view v, beast::error_code& ec) override {
    size += n.size() + v.size();
    if (size > kHeadLimit) {
      ec = beast::http::error::header_limit;
      return;
    }
    fields.add({n.data(), n.size()}, {v.data(), v.size()});
    ec = {};
  }
  void on_header_impl(beast::error_code& ec) override { ec = {}; }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, beast::error_code& ec) override { ec = {}; }
  std::size_t on_body_impl(beast::string_view b, beast::error_code& ec) override {
    body.append(b.data(), b.size());
    ec = {};
    return b.size();
  }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, beast::error_code& ec) override { ec = {}; }
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view b, beast::error_code& ec) override {
    body.append(b.data(), b.size());
    ec = {};
    return b.size();
  }
  void on_finish_impl(beast::error_code& ec) override { ec = {}; }
};

// Bytes of a connection that was switched to another protocol; what came behind the answer's head comes first.
class Switched final : public http::ByteStream {
 public:
  explicit Switched(std::unique_ptr<Peer> p) : peer_(std::move(p)) {}
  task::Task<Result<std::string_view>> read() override {
    peer_->take(std::exchange(given_, 0));
    if (peer_->have().empty() && !ended_) ended_ = !co_await peer_->fill();
    auto piece = peer_->have();
    given_ = piece.size();
    co_return piece;
  }
  task::Task<Result<void>> write(std::string_view bytes) override {
    if (!co_await peer_->write(bytes)) co_return fail(Code::unavailable, "the connection was lost");
    co_return Result<void>{};
  }
  task::Task<Result<void>> shutdown_write() override {
    // Half-closed tunnels are rare, and a closed one must not hang: the other way ends with its own end.
    co_return Result<void>{};
  }
  void close() override { peer_->close(); }

 private:
  std::unique_ptr<Peer> peer_;
  std::size_t given_ = 0;
  bool ended_ = false;
};

// A request under way: lives until the last byte of its answer.
struct Exchange {
  std::string key;
  std::unique_ptr<Peer> peer;
  std::unique_ptr<AnswerParser> parser = std::make_unique<AnswerParser>();
  std::shared_ptr<void> keep_alive;
  task::Timer timer;
  bool late = false;
  bool ended = false;

  void start_timer(long ms) {
    timer.start(ms, [this] {
      late = true;
      if (peer) peer->close();
    });
  }
  void prepare(bool head_only) {
    parser = std::make_unique<AnswerParser>();
    parser->body_limit(boost::none);
    parser->header_limit(kHeadLimit + 4096);
    if (head_only) parser->skip(true);
  }
  // Feeds what has come. False: malformed.
  bool feed() {
    beast::error_code ec;
    while (!peer->have().empty() && !parser->is_done()) {
      auto bytes = peer->have();
      auto used = parser->put(asio::buffer(bytes.data(), bytes.size()), ec);
      peer->take(used);
      if (ec == beast::http::error::need_more) return true;
      if (ec) return false;
      if (used == 0) return true;
    }
    return true;
  }
  void finish() {
    ended = true;
    timer.cancel();
    if (peer && parser->keep_alive() && peer->have().empty()) keep(key, std::move(peer));
    peer.reset();
    keep_alive.reset();
  }
  // The next piece of the body.
  task::Task<Result<std::string>> next() {
    for (;;) {
      if (!parser->body.empty()) {
        auto piece = std::exchange(parser->body, {});
        if (parser->is_done()) finish();
        co_return piece;
      }
      if (ended) co_return std::string();
      if (parser->is_done()) {
        finish();
        co_return std::string();
      }
      if (!co_await peer->fill()) {
        beast::error_code ec;
        parser->put_eof(ec);
        if (late) co_return fail(Code::deadline_exceeded, "upstream request timeout");
        if (ec || !parser->is_done()) co_return fail(Code::data_loss, "the upstream's answer was cut short");
        continue;
      }
      if (!feed()) co_return fail(Code::data_loss, "the upstream's answer is malformed");
    }
  }
};

task::Task<std::expected<std::unique_ptr<Peer>, Trouble>> dial(const std::string& ip, std::uint16_t port,
                                                               long timeout_ms) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int err = 0;
  std::unique_ptr<Peer> peer;
  if (::inet_pton(AF_INET, ip.c_str(), &a.sin_addr) != 1) {
    err = EINVAL;
  } else if (!fd) {
    err = errno;
  } else {
    int one = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    err = ::connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) == 0 ? 0 : errno;
    if (err == 0 || err == EINPROGRESS) {
      peer = std::make_unique<Peer>(std::move(fd));
      if (err == EINPROGRESS) {
        task::Timer timer;
        timer.start(timeout_ms, [&] { peer->close(); });
        err = co_await peer->connected();
      }
    }
  }
  if (err != 0) co_return std::unexpected(Trouble{Trouble::Kind::connect, std::strerror(err), {}});
  co_return peer;
}

enum class Sent : std::uint8_t { all, broken, no_body };

task::Task<Sent> send_body(Peer& peer, Outgoing& out, bool chunked, Error& of_client) {
  for (;;) {
    auto piece = co_await out.stream->read();
    if (!piece) {
      of_client = std::move(piece).error();
      co_return Sent::no_body;
    }
    if (piece->empty()) break;
    if (chunked && !co_await peer.write(fmt::format("{:x}\r\n", piece->size()))) co_return Sent::broken;
    if (!co_await peer.write(*piece)) co_return Sent::broken;
    if (chunked && !co_await peer.write("\r\n")) co_return Sent::broken;
  }
  if (chunked && !co_await peer.write("0\r\n\r\n")) co_return Sent::broken;
  co_return Sent::all;
}

std::string head_of(const Outgoing& out, bool& chunked) {
  std::string head = fmt::format("{} {} HTTP/1.1\r\n", out.method, out.target);
  for (const auto& [n, v] : out.headers.items()) {
    head += n;
    head += ": ";
    for (char c : v) head += c == '\r' || c == '\n' ? ' ' : c;
    head += "\r\n";
  }
  chunked = false;
  if (!out.upgrade.empty()) {
    head += fmt::format("Connection: Upgrade\r\nUpgrade: {}\r\n", out.upgrade);
  } else if (out.whole) {
    bool bodyless = out.method == "GET" || out.method == "HEAD" || out.method == "DELETE" || out.method == "OPTIONS";
    if (!out.whole->empty() || !bodyless) head += fmt::format("Content-Length: {}\r\n", out.whole->size());
  } else if (out.stream != nullptr) {
    if (auto n = out.stream->length()) {
      head += fmt::format("Content-Length: {}\r\n", *n);
    } else {
      chunked = true;
      head += "Transfer-Encoding: chunked\r\n";
    }
  }
  head += "\r\n";
  return head;
}

http::Response answer_of(std::shared_ptr<Exchange> x, bool head_only) {
  http::Response res;
  res.status = x->parser->status;
  for (const auto& [n, v] : x->parser->fields.items())
    if (!is_connection_header(n) && !text::iequals(n, "X-Request-Id")) res.headers.add(n, v);
  bool empty = head_only || res.status == 204 || res.status == 304;
  if (empty) {
    x->finish();
    return res;
  }
  if (x->parser->is_done() && x->parser->body.empty()) {
    x->finish();
    return res;
  }
  // A whole body is handed on as one piece all the same: a text would be compressed, which is the upstream's choice.
  res.body = http::StreamBody([x = std::move(x)]() { return x->next(); });
  return res;
}

http::Response switched(std::shared_ptr<Exchange> x) {
  http::Response res;
  res.status = 101;
  for (const auto& [n, v] : x->parser->fields.items())
    if (!text::iequals(n, "X-Request-Id") && !text::iequals(n, "Content-Length") &&
        !text::iequals(n, "Transfer-Encoding"))
      res.headers.add(n, v);
  x->timer.cancel();
  auto far = std::make_shared<Switched>(std::move(x->peer));
  res.upgrade = [far, keep_alive = std::move(x->keep_alive)](http::ByteStream& near) -> task::Task<void> {
    // The end of either side is the end of the tunnel.
    auto one_way = [](http::ByteStream& from, http::ByteStream& to) -> task::Task<void> {
      for (;;) {
        auto piece = co_await from.read();
        if (!piece || piece->empty() || !co_await to.write(*piece)) break;
      }
      from.close();
      to.close();
    };
    task::Group back;
    back.spawn(one_way(*far, near));
    co_await one_way(near, *far);
    co_await back.join();
  };
  return res;
}

}  // namespace

bool is_connection_header(std::string_view name) {
  for (std::string_view h : {"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate",
                             "Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding", "Upgrade"})
    if (text::iequals(name, h)) return true;
  return false;
}

task::Task<std::expected<http::Response, Trouble>> forward(Outgoing out, std::shared_ptr<void> keep_alive) {
  auto x = std::make_shared<Exchange>();
  x->keep_alive = std::move(keep_alive);
  x->key = fmt::format("{}:{}", out.ip, out.port);
  bool head_only = out.method == "HEAD";
  if (out.timeout_ms > 0) x->start_timer(out.timeout_ms);
  auto timed_out = [] { return std::unexpected(Trouble{Trouble::Kind::timeout, "upstream request timeout", {}}); };
  bool chunked = false;
  auto head = head_of(out, chunked);
  if (out.whole) head += *out.whole;
  bool can_repeat = out.stream == nullptr || out.whole;

  for (;;) {
    x->peer = can_repeat && out.upgrade.empty() ? kept(x->key) : nullptr;
    bool reused = x->peer != nullptr;
    if (!reused) {
      auto connect_ms = out.timeout_ms > 0 ? std::min(out.connect_timeout_ms, out.timeout_ms) : out.connect_timeout_ms;
      auto made = co_await dial(out.ip, out.port, connect_ms);
      if (x->late) co_return timed_out();
      if (!made) co_return std::unexpected(std::move(made).error());
      x->peer = std::move(*made);
    }
    bool sent = co_await x->peer->write(head);
    if (sent && !out.whole && out.stream != nullptr && out.upgrade.empty()) {
      Error of_client;
      auto s = co_await send_body(*x->peer, out, chunked, of_client);
      if (s == Sent::no_body) co_return std::unexpected(Trouble{Trouble::Kind::client, "", std::move(of_client)});
      sent = s == Sent::all;
    }
    // A server that refuses a body early has answered, though the body did not pass: look.
    bool any = false, malformed = false;
    for (;;) {
      x->prepare(head_only);
      while (!x->parser->is_header_done()) {
        if (x->peer->have().empty() && !co_await x->peer->fill()) break;
        any = true;
        auto before = x->peer->have().size();
        if (!x->feed()) {
          malformed = true;
          break;
        }
        if (x->peer->have().size() == before && !x->parser->is_header_done() && !co_await x->peer->fill()) break;
      }
      // 100 and 103 announce: the answer comes behind them.
      if (x->parser->is_header_done() && x->parser->status < 200 && x->parser->status != 101) continue;
      break;
    }
    if (x->late) co_return timed_out();
    if (!x->parser->is_header_done() || malformed) {
      if (reused && !any) continue;  // it closed while it was kept: once more on another
      co_return std::unexpected(
          Trouble{Trouble::Kind::reset, malformed ? "protocol error" : "connection termination", {}});
    }
    break;
  }
  if (x->parser->status == 101) {
    if (out.upgrade.empty()) co_return std::unexpected(Trouble{Trouble::Kind::reset, "protocol error", {}});
    co_return switched(std::move(x));
  }
  co_return answer_of(std::move(x), head_only);
}

}  // namespace mr::gateway
