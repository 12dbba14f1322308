// Receiving a body: to a temporary file, digests on the way, every claim of the client checked. Internal to objects/.
#pragma once
#include "objects/chunked.h"
#include "objects/signature.h"
#include "objects/store.h"

namespace mr::objects {

struct Received {
  std::string blob;  // kept durably
  std::uint64_t size = 0;
  std::string etag;  // MD5, hex
  Checksum checksum;
};

// Headers that bind the body: Content-MD5, x-amz-content-sha256, x-amz-checksum-*, x-amz-trailer,
// x-amz-decoded-content-length. `fallback`: the checksum to compute when the client claims none.
task::Task<Result<Received>> receive(Store& store, http::Request& request, const Payload& payload,
                                     ChecksumAlgorithm fallback);

// The same claims over a small body held in memory (XML documents).
task::Task<Result<std::string>> receive_text(http::Request& request, const Payload& payload, std::size_t limit,
                                             bool checksums = true);

}  // namespace mr::objects
