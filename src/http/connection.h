// One server connection: reads requests, calls the handler, writes answers. Internal to http/.
// Lives on one loop; owned by the coroutine that runs it, listed in its loop's Shard for timeouts and shutdown.
#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <list>

#include "http/server.h"
#include "metrics/metrics.h"

namespace mr::http {

class Connection;

// Metrics of one listener, made once.
struct ServerMetrics {
  explicit ServerMetrics(const std::string& listener);
  metrics::Counter by_class[6];
  metrics::Histogram seconds;
  metrics::Gauge connections;
};

// A server's part on one loop.
struct Shard {
  task::Loop* loop = nullptr;
  const ServerOptions* options = nullptr;
  const Handler* handler = nullptr;
  const ServerMetrics* metrics = nullptr;
  std::list<Connection*> connections;
  bool draining = false;
};

// Serves `socket` until it closes.
task::Task<void> serve_connection(Shard& shard, boost::asio::ip::tcp::socket socket);
// Called twice a second: closes connections whose deadline has passed.
void expire_connections(Shard& shard);
// Closes idle connections now; busy ones close after their answer.
void drain_connections(Shard& shard);
void abort_connections(Shard& shard);

}  // namespace mr::http
