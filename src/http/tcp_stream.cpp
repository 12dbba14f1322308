#include "http/tcp_stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "core/fd.h"
#include "task/event.h"

namespace mr::http {

namespace asio = boost::asio;

namespace {

using Descriptor = asio::posix::stream_descriptor;

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

class SocketStream final : public ByteStream {
 public:
  explicit SocketStream(Fd fd) : descriptor_(task::Loop::current()->context(), fd.release()) {}
  ~SocketStream() override { close(); }

  task::Task<Result<std::string_view>> read() override {
    constexpr std::size_t kBuffer = 64 * 1024;
    if (!in_) in_ = std::make_unique_for_overwrite<char[]>(kBuffer);
    for (;;) {
      ssize_t n = ::recv(descriptor_.native_handle(), in_.get(), kBuffer, 0);
      if (n >= 0) co_return std::string_view(in_.get(), static_cast<std::size_t>(n));
      if (errno == EINTR) continue;
      if (errno != EAGAIN) co_return lost(errno);
      if (!co_await Wait{descriptor_, Descriptor::wait_read}) co_return lost(ECANCELED);
    }
  }
  task::Task<Result<void>> write(std::string_view bytes) override {
    while (!bytes.empty()) {
      ssize_t n = ::send(descriptor_.native_handle(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) {
        bytes.remove_prefix(static_cast<std::size_t>(n));
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      if (errno != EAGAIN) co_return lost(errno);
      if (!co_await Wait{descriptor_, Descriptor::wait_write}) co_return lost(ECANCELED);
    }
    co_return Result<void>{};
  }
  task::Task<Result<void>> shutdown_write() override {
    if (::shutdown(descriptor_.native_handle(), SHUT_WR) != 0 && errno != ENOTCONN) co_return lost(errno);
    co_return Result<void>{};
  }
  void close() override {
    boost::system::error_code ec;
    descriptor_.close(ec);
  }

  [[nodiscard]] bool quiet() {
    char c = 0;
    return ::recv(descriptor_.native_handle(), &c, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
  }

  // Waits for the outcome of a connect that is under way: 0 or an errno.
  task::Task<int> connected(int timeout_ms) {
    task::Timer timer;
    bool late = false;
    timer.start(timeout_ms, [&] {
      late = true;
      boost::system::error_code ec;
      descriptor_.cancel(ec);
    });
    bool ok = co_await Wait{descriptor_, Descriptor::wait_write};
    if (late) co_return ETIMEDOUT;
    int err = ok ? 0 : ECANCELED;
    socklen_t size = sizeof err;
    if (ok) ::getsockopt(descriptor_.native_handle(), SOL_SOCKET, SO_ERROR, &err, &size);
    co_return err;
  }

 private:
  static std::unexpected<Error> lost(int err) {
    return fail(Code::unavailable, fmt::format("the connection was lost: {}", std::strerror(err)));
  }
  Descriptor descriptor_;
  std::unique_ptr<char[]> in_;
};

// "tcp4 127.0.0.1:80: connect: connection refused" is how clients of the real system know such texts.
std::unexpected<Error> refused(const std::string& what, int err) {
  std::string text = std::strerror(err);
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return fail(err == ETIMEDOUT ? Code::deadline_exceeded : Code::unavailable,
              fmt::format("dial {}: connect: {}", what, text));
}

task::Task<Result<std::unique_ptr<ByteStream>>> connect_to(const sockaddr* address, socklen_t size, std::string what,
                                                           int timeout_ms) {
  Fd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) co_return fail(Code::resource_exhausted, fmt::format("dial {}: {}", what, std::strerror(errno)));
  int one = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  int err = ::connect(fd.get(), address, size) == 0 ? 0 : errno;
  if (err != 0 && err != EINPROGRESS) co_return refused(what, err);
  auto stream = std::make_unique<SocketStream>(std::move(fd));
  if (err == EINPROGRESS) err = co_await stream->connected(timeout_ms);
  if (err != 0) co_return refused(what, err);
  co_return std::unique_ptr<ByteStream>(std::move(stream));
}

task::Task<void> copy(ByteStream& from, ByteStream& to) {
  for (;;) {
    auto piece = co_await from.read();
    if (piece && piece->empty()) {
      if (co_await to.shutdown_write()) co_return;
      break;
    }
    if (!piece || !co_await to.write(*piece)) break;
  }
  from.close();
  to.close();
}

}  // namespace

task::Task<Result<std::unique_ptr<ByteStream>>> connect_tcp(std::string ip, std::uint16_t port, int timeout_ms) {
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  if (::inet_pton(AF_INET, ip.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    co_return co_await connect_to(reinterpret_cast<sockaddr*>(&v4), sizeof v4, fmt::format("tcp4 {}:{}", ip, port),
                                  timeout_ms);
  }
  if (::inet_pton(AF_INET6, ip.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    co_return co_await connect_to(reinterpret_cast<sockaddr*>(&v6), sizeof v6, fmt::format("tcp6 [{}]:{}", ip, port),
                                  timeout_ms);
  }
  co_return fail(Code::invalid_argument, fmt::format("'{}' is not an IP address", ip));
}

std::unique_ptr<ByteStream> socket_stream(int fd) {
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  return std::make_unique<SocketStream>(Fd(fd));
}

bool quiet(ByteStream& stream) {
  auto* s = dynamic_cast<SocketStream*>(&stream);
  return s != nullptr && s->quiet();
}

task::Task<void> pump(ByteStream& a, ByteStream& b) {
  task::Group back;
  back.spawn(copy(b, a));
  co_await copy(a, b);
  co_await back.join();
}

}  // namespace mr::http
