// AWS signatures: verification of header and query forms of version 4, of the query form of version 2, and of signed
// chunks. Facts: the S3 documentation's "Authenticating Requests". Thread safe.
#pragma once
#include <string>

#include "core/error.h"
#include "http/message.h"

namespace mr::objects {

struct Credentials {
  std::string access_key;
  std::string secret_key;
  std::string region = "us-east-1";  // of what is signed; any region is accepted in what is verified
};

// What a verified request says of its body.
struct Payload {
  enum class Kind : std::uint8_t {
    unsigned_body,
    hashed,
    chunked_signed,
    chunked_signed_trailer,
    chunked_unsigned_trailer
  } kind = Kind::unsigned_body;
  std::string sha256;       // hex, for hashed
  std::string signing_key;  // for signed chunks
  std::string scope;
  std::string date;
  std::string seed_signature;
};

// Errors: AccessDenied (no credentials), InvalidAccessKeyId, SignatureDoesNotMatch, RequestTimeTooSkewed,
// AuthorizationHeaderMalformed, …
Result<Payload> verify(const http::Request& request, const Credentials& credentials, std::int64_t now_s);

// A URL that lets anyone who has it make one request until it expires (version 4 query form, payload unsigned).
// `endpoint` is scheme://host:port; `query` holds decoded pairs.
std::string presign(const Credentials& credentials, std::string_view method, const std::string& endpoint,
                    const std::string& bucket, const std::string& key,
                    std::vector<std::pair<std::string, std::string>> query, std::int64_t now_s, int expires_s);

// The signature of one chunk (or of the trailer), given the one before it.
std::string chunk_signature(const Payload& payload, const std::string& previous, const std::string& chunk_sha256_hex);
std::string trailer_signature(const Payload& payload, const std::string& previous,
                              const std::string& trailer_sha256_hex);

}  // namespace mr::objects
