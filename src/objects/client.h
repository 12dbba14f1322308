// A small blocking S3 client (list and get, SigV4), for worker threads and the command line. One object, one thread.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "http/client.h"
#include "objects/signature.h"

namespace mr::objects {

class Client {
 public:
  Client(std::string endpoint, Credentials credentials) : endpoint_(std::move(endpoint)), credentials_(std::move(credentials)) {}
  // All keys with a prefix.
  Result<std::vector<std::string>> list(const std::string& bucket, const std::string& prefix);
  // Streams an object to `sink`; false from it ends the transfer.
  Result<> get(const std::string& bucket, const std::string& key, const std::function<bool(std::string_view)>& sink);

 private:
  Result<http::ClientResponse> send(const std::string& path, const std::string& query, std::function<bool(std::string_view)> sink);
  std::string endpoint_;
  Credentials credentials_;
  http::Client http_;
};

}  // namespace mr::objects
