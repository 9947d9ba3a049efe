# Sourced by an interactive zsh: ^X writes what would be offered at the cursor to $said, ^T ends the list with "@" and clears the line.
autoload -Uz compinit
compinit -D -u
setopt no_beep
LISTMAX=100000

collect() {
    compadd() {
        # Those with -O, -A or -D only ask.
        if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then
            builtin compadd "$@"
            return
        fi
        local -a offered
        builtin compadd -O offered "$@"
        print -rl -- $offered >>$said
        builtin compadd "$@"
    }
    _main_complete
    unfunction compadd
}
zle -C collect list-choices collect

finish() {
    print -r -- @ >>$said
    zle kill-buffer
}
zle -N finish

bindkey '^X' collect
bindkey '^T' finish
print -r -- @ >$said
