// A non-blocking server socket, plain or under TLS: one attempt to read or write at a time, and what to wait for when
// it cannot go on. Internal to the servers (http, grpc), whose .cpp files know Asio. Not thread safe.
#pragma once
#include <boost/asio/ip/tcp.hpp>

#include "http/tls.h"

struct ssl_st;

namespace mr::http {

// What an attempt came to; wait_* names the readiness to wait for before the next one.
enum class Io : std::uint8_t { done, end, wait_read, wait_write, error };

class Transport {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  Transport(Socket socket, const TlsContext* tls);
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  [[nodiscard]] Socket& socket() { return socket_; }
  [[nodiscard]] bool secure() const { return ssl_ != nullptr; }
  Io handshake();
  // After the handshake: who the client's certificate names, and whether it gave one that is not believed.
  [[nodiscard]] const std::optional<PeerCertificate>& peer() const { return peer_; }
  [[nodiscard]] bool peer_refused() const { return peer_refused_; }

  Io recv(char* to, std::size_t size, std::size_t& got);
  Io send(const char* from, std::size_t size, std::size_t& taken);
  // Bytes were read from the socket that recv() has not given yet.
  [[nodiscard]] bool pending() const;
  // The end of what we send: close_notify under TLS, then the socket's half.
  void shutdown_send();
  void close();

 private:
  Io verdict(int returned);
  void read_peer();

  Socket socket_;
  ssl_st* ssl_ = nullptr;
  std::optional<PeerCertificate> peer_;
  bool peer_refused_ = false;
};

}  // namespace mr::http
