// A real MariaDB beside this program (`millrace up --mysql`): installed into the data folder at its first start, kept
// running, ended with the program. Its root logs in over loopback without a password, as the reference installation's
// does: it listens on loopback only.
// Ownership: the server is a child of the supervising thread and dies with it, even on kill -9. Thread safe.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"

namespace mr::cli {

struct MySqlOptions {
  std::string folder;  // DATA/mysql: data/, tmp/, mysql.log, mysqld.pid
  std::string address = "127.0.0.1";
  std::uint16_t port = 3306;
  std::function<void(std::string_view lines)> log;  // what the server says, besides mysql.log; any thread
};

class MySql {
 public:
  // Errors: failed_precondition, when the programs are not installed (says what to install) or the folder cannot be
  // made.
  static Result<std::unique_ptr<MySql>> open(MySqlOptions options);
  ~MySql();
  // Returns at once; the first start takes some seconds.
  void start();
  // Whether it answers on its port.
  [[nodiscard]] bool ready() const;
  // Waits for that. Errors: deadline_exceeded or unavailable, with the last lines that the server wrote.
  Result<> wait_ready(int timeout_ms) const;
  // Ends it in order (SIGTERM, after 20 s SIGKILL). Idempotent.
  void stop();

  struct Impl;

 private:
  explicit MySql(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::cli
