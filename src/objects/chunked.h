// The aws-chunked body framing: sizes in hex, signatures of chunks, trailing headers. A BodyReader over another one.
// Not thread safe.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "http/message.h"
#include "objects/signature.h"

namespace mr::objects {

class ChunkedReader : public http::BodyReader {
 public:
  // `decoded_length` is x-amz-decoded-content-length; the body must have exactly that many bytes.
  ChunkedReader(http::BodyReader& inner, Payload payload, std::uint64_t decoded_length);
  ~ChunkedReader() override;
  task::Task<Result<std::string_view>> read() override;
  [[nodiscard]] std::optional<std::uint64_t> length() const override;
  // After the end: trailing headers, names in lower case.
  [[nodiscard]] const std::map<std::string, std::string>& trailers() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mr::objects
