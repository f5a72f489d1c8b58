// Apart from link.c, which a simulated network takes the place of (simulations/chaos/).
#include <stdlib.h>
#include <string.h>

#include "common/wire/link.h"

bool trib_link_url_is_good(const char *url)
{
    if (strncmp(url, "ipc://", 6) == 0)
        return url[6] != '\0';
    if (strncmp(url, "tcp://", 6) != 0)
        return false;
    const char *colon = strrchr(url + 6, ':');
    if (!colon || colon == url + 6)
        return false;
    const size_t digits = strspn(colon + 1, "0123456789");
    char *end;
    return digits >= 1 && digits <= 5 && colon[1 + digits] == '\0' &&
           strtoul(colon + 1, &end, 10) <= UINT16_MAX;
}
