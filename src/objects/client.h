// A small blocking S3 client (list, get, put, delete; SigV4), for worker threads and the command line. One object, one
// thread.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "http/client.h"
#include "objects/signature.h"

namespace mr::objects {

class Client {
 public:
  Client(std::string endpoint, Credentials credentials)
      : endpoint_(std::move(endpoint)), credentials_(std::move(credentials)) {}
  struct Entry {
    std::string key;  // or a common prefix, with its delimiter
    std::uint64_t size = 0;
    bool prefix = false;
  };
  // Everything with a prefix; with a delimiter, common prefixes stand for what lies below them.
  Result<std::vector<Entry>> list(const std::string& bucket, const std::string& prefix,
                                  const std::string& delimiter = {});
  // Uploads `bytes` as one object.
  Result<> put(const std::string& bucket, const std::string& key, std::string_view bytes);
  // A missing key is fine.
  Result<> remove(const std::string& bucket, const std::string& key);
  // Streams an object to `sink`; false from it ends the transfer.
  Result<> get(const std::string& bucket, const std::string& key, const std::function<bool(std::string_view)>& sink);

 private:
  Result<http::ClientResponse> send(http::Method method, const std::string& path, const std::string& query,
                                    std::string_view body, std::function<bool(std::string_view)> sink);
  std::string endpoint_;
  Credentials credentials_;
  http::Client http_;
};

}  // namespace mr::objects
