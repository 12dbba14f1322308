// Listening sockets: one on each loop, all on the same port, so that the kernel spreads connections over the loops.
// Internal to the servers (http, grpc), whose .cpp files know Asio.
// Ownership: lives as long as its loops' work (stop first). Thread safety: all methods from the owner's thread; the
// callbacks run on the loop that they are told of.
#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "task/loop.h"

namespace mr::http {

class Listeners {
 public:
  using Accepted = std::function<void(std::size_t loop, boost::asio::ip::tcp::socket socket)>;
  using Tick = std::function<void(std::size_t loop)>;

  explicit Listeners(task::Loops& loops) : loops_(loops) {}
  // Binds and listens; port 0 takes a free one. `flags`: the command-line flags that choose another port, for the
  // message. Errors: the address is none, in use or not allowed.
  Result<void> open(const std::string& address, std::uint16_t port, std::string_view flags);
  // Begins: every connection goes to `accepted`, and `tick` is called every `tick_ms`.
  void run(Accepted accepted, Tick tick, long tick_ms);
  void stop_accepting();
  void stop_ticking();
  [[nodiscard]] std::uint16_t port() const { return port_; }
  // Runs fn(i) on loop i, for each, and waits.
  void each(const std::function<void(std::size_t loop)>& fn);
  // The sum of count(i), asked on loop i, once it is 0 or `ms` have passed.
  std::size_t wait_for_none(const std::function<std::size_t(std::size_t loop)>& count, long ms);

 private:
  struct One {
    boost::asio::ip::tcp::acceptor acceptor;
    boost::asio::steady_timer tick;
    boost::asio::steady_timer pause;
  };
  void accept(std::size_t i);
  void tick(std::size_t i);
  task::Loops& loops_;
  std::vector<std::unique_ptr<One>> all_;
  std::uint16_t port_ = 0;
  Accepted accepted_;
  Tick tick_;
  long tick_ms_ = 0;
};

}  // namespace mr::http
