# What is shown, and the process that shows it all, `shown`; what `serve` says and does has processes of
# its own. Sourced by interop, with the words of reverse/sites.sh.

# make_pair NAME: NAME, and beside it what is said to be its compressed forms.
make_pair() {
    seq 3000 | sed 's/.*/console.log(&);/' >"$1"
    gzip -9c "$1" >"$1.gz"
    # Nobody looks into it here: it has to come as it is.
    head -c 2000 "$dir/www/20m.bin" >"$1.br"
}

make_folders() {
    local folders=$dir/folders
    mkdir -p "$folders"/{web/{sub,bare,.hidden},app,listed/{deep,empty,.none},pages,kept,first,second,page}
    cd "$folders"
    ln "$dir/www/20m.bin" "$dir/www/text.txt" web
    # Old enough for its date to say which one it is.
    touch -d '3 days ago' web/20m.bin web/text.txt
    head -c 300000 /dev/urandom >web/300k.bin
    echo small >web/small.txt
    : >web/empty.txt
    seq 20000 | sed 's/.*/.a& { color: red }/' >web/style.css
    echo umlaut >web/$'h\xc3\xa9 llo.txt'
    touch -d '3 days ago' web/*
    echo '<!doctype html><title>Front</title>' >web/index.html
    echo '<!doctype html><title>Below</title>' >web/sub/index.html
    echo x | tee web/bare/x.txt web/.hidden/x.txt >web/.x.txt
    make_pair web/right.js
    make_pair web/stale.js
    touch -d '1 hour ago' web/stale.js.{gz,br}
    echo '<!doctype html><title>App</title>' >app/index.html
    echo 'console.log("app")' >app/app.js
    echo '<!doctype html><title>Nothing here</title>' >pages/404.html
    echo a >pages/a.html
    cp pages/a.html kept/a.html
    cp pages/a.html kept/a.js
    echo first >first/which.txt
    echo second >second/which.txt
    ln -s first switched
    local name
    for name in 'a b.txt' '<b>&"'"'"'.txt' 'c#d?e%41.txt' $'\xc3\xa9\xe2\x82\xac.txt' $'\xff\xfe.bin' \
        'javascript:alert(1)' '<script>alerted=1<' ' ' "$(printf 'long%.0s' {1..60})" '-' '~' 'a+b' 'a;b=c' '...x'; do
        printf '%s\n' "$name" >"listed/$name"
    done
    head -c 5000 /dev/urandom >listed/large.bin
    echo deep >listed/deep/deep.txt
    echo none >listed/.none/none.txt
    mkfifo listed/pipe
    ln -s nowhere listed/dangling
    ln -s ../web listed/out
    ln -s deep listed/in
    files_py huge web/huge.bin
    mkdir traversal
    python3 "$parts/static/traversal.py" make "$folders/traversal"
    [[ -e $font ]] || install fonts-dejavu-core
    python3 "$parts/static/shown.py" make "$folders/page" "$font"
    git -C "$dir/git/it.git" update-server-info
    cd - >/dev/null
}
font=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
files_py() { python3 "$parts/static/files.py" "$@"; }

# folder_route SITE PATH FOLDER [FILES]: with its prefix taken away.
folder_route() {
    printf '[[site.%s.route]]\npath = "%s"\nroot = "%s"\n' "$1" "$2" "$3"
    [[ $2 == / ]] || printf 'strip_prefix = "%s"\n' "$2"
    [[ -z ${4-} ]] || printf 'files = { %s }\n' "$4"
}

shown_conf() {
    local folders=$dir/folders
    cat <<CONF
[process]
threads = 2
[admin]
listen = "unix:$dir/shown.sock"
[log]
access = "$dir/shown-access.log"

[site.shown]
listen = "127.0.0.1:$shown"
h2c = true
$(folder_route shown / "$folders/web")
$(folder_route shown /app "$folders/app" 'try_files = ["{path}", "{path}/", "/index.html"]')
$(folder_route shown /listed "$folders/listed" 'listing = true')
$(folder_route shown /pages "$folders/pages" 'error_pages = { 404 = "/404.html" }')
$(folder_route shown /kept "$folders/kept" 'cache_control = [{ files = "*.html", value = "no-cache" }, { files = "*.js", value = "max-age=3600" }]')
$(folder_route shown /open "$folders/web" 'cors = true')
$(folder_route shown /friends "$folders/web" 'cors = ["https://friend.test"]')
$(folder_route shown /private "$folders/web")
users = { alice = "open sesame" }
$(folder_route shown /switched "$folders/switched")
$(folder_route shown /git "$dir/git")

[site.sealed]
hosts = ["files.test"]
listen = "127.0.0.1:$unsealed"
tls = { cert = "files.pem", key = "files.key", listen = "127.0.0.1:$sealed" }
$(folder_route sealed / "$folders/web")

[site.strict]
listen = "127.0.0.1:$strict"
h2c = true
$(folder_route strict / "$folders/traversal/root")
$(folder_route strict /files "$folders/traversal/root")

[site.listing]
listen = "127.0.0.1:$listing"
$(folder_route listing / "$folders/traversal/root" 'listing = true')
$(folder_route listing /files "$folders/traversal/root" 'listing = true')

[site.page]
listen = "127.0.0.1:$page"
$(folder_route page / "$folders/page")
CONF
}

shown() { echo "http://127.0.0.1:$shown$1"; }
sealed() { site --cacert "$dir/ca.pem" --resolve "files.test:$sealed:127.0.0.1" "$@"; }
# To the three ways by which bodies leave.
ways=(http h2c tls)
by() {
    case $1 in
    http) site --http1.1 "${@:3}" "$(shown "$2")" ;;
    h2c) site --http2-prior-knowledge "${@:3}" "$(shown "$2")" ;;
    tls) sealed --http2 "${@:3}" "https://files.test:$sealed$2" ;;
    tls1) sealed --http1.1 "${@:3}" "https://files.test:$sealed$2" ;;
    esac
}

certificate files files.test
make_folders
read -r shown sealed unsealed strict listing page <<<"$(free_ports 6)"
shown_conf >"$dir/shown.toml"
start_from_file shown
shown_pid=$pid
root=$dir/folders/web
