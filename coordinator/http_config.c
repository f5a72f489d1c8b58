#include "coordinator/http_config.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/wipe.h"

enum {
    FILE_SIZE_MAX = 4096,
    ADDRESS_TEXT_MAX = 45, // of the longest IPv6 address
};

// Digits only, up to 65535.
static bool parse_port(const char *text, uint16_t *ret_port)
{
    uint32_t port = 0;
    const size_t size = strlen(text);
    if (size == 0 || size > 5 || strspn(text, "0123456789") != size)
        return false;
    for (size_t i = 0; i < size; i++)
        port = port * 10 + (uint32_t)(text[i] - '0');
    *ret_port = (uint16_t)port;
    return port <= UINT16_MAX;
}

bool trib_http_address_parse(const char *text, struct trib_http_address *ret_address)
{
    struct trib_http_address address = {.is_v6 = text[0] == '['};
    char host[ADDRESS_TEXT_MAX + 1];
    const char *begin = text + address.is_v6;
    const char *end = address.is_v6 ? strchr(begin, ']') : strrchr(begin, ':');
    if (!end || end - begin > ADDRESS_TEXT_MAX || (address.is_v6 && end[1] != ':'))
        return false;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    if (inet_pton(address.is_v6 ? AF_INET6 : AF_INET, host, address.bytes) != 1 ||
        !parse_port(end + 1 + address.is_v6, &address.port))
        return false;
    *ret_address = address;
    return true;
}

bool trib_http_address_is_loopback(const struct trib_http_address *address)
{
    static const uint8_t one[16] = {[15] = 1};
    return address->is_v6 ? memcmp(address->bytes, one, sizeof(one)) == 0
                          : address->bytes[0] == 127;
}

// The token is the file's only word.
static bool take_token(struct trib_buf *file, struct trib_http_config *config)
{
    size_t size = file->size;
    while (size > 0 && strchr(" \t\r\n", file->data[size - 1]))
        size--;
    bool is_good = size >= TRIB_HTTP_TOKEN_MIN && size <= TRIB_HTTP_TOKEN_MAX;
    for (size_t i = 0; i < size && is_good; i++)
        is_good = file->data[i] > ' ' && file->data[i] < 0x7f;
    if (is_good)
        trib_digest(file->data, size, config->token_digest);
    return is_good;
}

static enum trib_err read_token(struct trib_conf *conf, struct trib_http_config *config)
{
    struct trib_buf file = {0};
    struct stat info;
    const char *path = config->token_file;
    if (stat(path, &info))
        return trib_conf_reject(conf, "http", "token_file", "%s cannot be read", path);
    if (info.st_mode & (S_IRWXG | S_IRWXO))
        return trib_conf_reject(conf, "http", "token_file",
                                "%s can be read by others; the mode must be 0600", path);
    if (trib_file_read(path, FILE_SIZE_MAX, &file))
        return trib_conf_reject(conf, "http", "token_file", "%s cannot be read", path);
    config->has_token = take_token(&file, config);
    trib_wipe(file.data, file.size);
    trib_buf_fini(&file);
    if (config->has_token)
        return TRIB_OK;
    return trib_conf_reject(conf, "http", "token_file",
                            "%s must hold one word of %d to %d visible characters", path,
                            TRIB_HTTP_TOKEN_MIN, TRIB_HTTP_TOKEN_MAX);
}

enum trib_err trib_http_config_check(struct trib_conf *conf, struct trib_http_config *config)
{
    config->has_token = false;
    if (!config->listen[0])
        return config->token_file[0]
                   ? trib_conf_reject(conf, "http", "token_file", "is of no use without listen")
                   : TRIB_OK;
    if (!trib_http_address_parse(config->listen, &config->address))
        return trib_conf_reject(conf, "http", "listen",
                                "wants ADDRESS:PORT, as 127.0.0.1:9464 or [::1]:9464, not '%s'",
                                config->listen);
    if (config->token_file[0])
        return read_token(conf, config);
    if (!trib_http_address_is_loopback(&config->address))
        return trib_conf_reject(conf, "http", "listen",
                                "%s can be reached from other machines: token_file is wanted",
                                config->listen);
    return TRIB_OK;
}
