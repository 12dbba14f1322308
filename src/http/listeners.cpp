#include "http/listeners.h"

#include <atomic>
#include <boost/asio/ip/address.hpp>
#include <future>
#include <thread>

namespace mr::http {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

namespace {
using ReusePort = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
}

Result<void> Listeners::open(const std::string& where, std::uint16_t port, std::string_view flags) {
  boost::system::error_code ec;
  auto address = asio::ip::make_address(where == "localhost" ? "127.0.0.1" : where, ec);
  if (ec) return fail(Code::invalid_argument, fmt::format("'{}' is not an IP address to listen on", where));
  auto refused = [&](const boost::system::error_code& e) {
    return fail(Code::failed_precondition,
                e == asio::error::address_in_use
                    ? fmt::format("port {} on {} is in use by another program; stop it, or choose other ports ({})",
                                  port, where, flags)
                    : fmt::format("cannot listen on {}:{}: {}", where, port, e.message()));
  };
  {  // SO_REUSEPORT would let a second Millrace share the port in silence: ask once without it.
    asio::io_context probe_io;
    tcp::acceptor probe(probe_io);
    tcp::endpoint ep(address, port);
    probe.open(ep.protocol(), ec);
    if (!ec) probe.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) probe.bind(ep, ec);
    if (ec) return refused(ec);
  }
  port_ = port;
  for (std::size_t i = 0; i < loops_.size(); ++i) {
    auto& io = loops_.at(i).context();
    auto one = std::unique_ptr<One>(new One{tcp::acceptor(io), asio::steady_timer(io), asio::steady_timer(io)});
    tcp::endpoint ep(address, port_);
    one->acceptor.open(ep.protocol(), ec);
    if (!ec) one->acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) one->acceptor.set_option(ReusePort(true), ec);
    if (!ec) one->acceptor.bind(ep, ec);
    if (!ec) one->acceptor.listen(4096, ec);
    if (ec) return refused(ec);
    port_ = one->acceptor.local_endpoint().port();
    all_.push_back(std::move(one));
  }
  return {};
}

void Listeners::run(Accepted accepted, Tick on_tick, long tick_ms) {
  accepted_ = std::move(accepted);
  tick_ = std::move(on_tick);
  tick_ms_ = tick_ms;
  each([this](std::size_t i) {
    accept(i);
    tick(i);
  });
}

void Listeners::accept(std::size_t i) {
  auto& one = *all_[i];
  one.acceptor.async_accept([this, i](const boost::system::error_code& ec, tcp::socket socket) {
    if (ec == asio::error::operation_aborted) return;
    auto& self = *all_[i];
    if (!self.acceptor.is_open()) return;
    if (ec) {
      // Out of descriptors: a pause lets some close, instead of spinning.
      self.pause.expires_after(std::chrono::milliseconds(50));
      self.pause.async_wait([this, i](const boost::system::error_code& cancelled) {
        if (!cancelled) accept(i);
      });
      return;
    }
    accepted_(i, std::move(socket));
    accept(i);
  });
}

void Listeners::tick(std::size_t i) {
  auto& one = *all_[i];
  one.tick.expires_after(std::chrono::milliseconds(tick_ms_));
  one.tick.async_wait([this, i](const boost::system::error_code& ec) {
    if (ec) return;
    tick_(i);
    tick(i);
  });
}

void Listeners::stop_accepting() {
  each([this](std::size_t i) {
    boost::system::error_code ec;
    all_[i]->acceptor.close(ec);
    all_[i]->pause.cancel();
  });
}

void Listeners::stop_ticking() {
  each([this](std::size_t i) { all_[i]->tick.cancel(); });
}

void Listeners::each(const std::function<void(std::size_t)>& fn) {
  std::vector<std::future<void>> done;
  for (std::size_t i = 0; i < all_.size(); ++i) {
    auto promise = std::make_shared<std::promise<void>>();
    done.push_back(promise->get_future());
    loops_.at(i).post([i, promise, fn] {
      fn(i);
      promise->set_value();
    });
  }
  for (auto& d : done) d.wait();
}

std::size_t Listeners::wait_for_none(const std::function<std::size_t(std::size_t)>& count, long ms) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
  for (;;) {
    std::atomic<std::size_t> n = 0;
    each([&](std::size_t i) { n += count(i); });
    if (n == 0 || std::chrono::steady_clock::now() >= until) return n;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace mr::http
